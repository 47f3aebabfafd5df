import { describe, expect, test } from 'vitest';
import { sampleRestore } from '../../../test/support/manifests.ts';
import { soundMember } from '../../../test/support/restored-members.ts';
import { WardenError } from '../../errors.ts';
import type { MemberHash } from '../../etcd/types.ts';
import { agreement, compareHash, inAskingOrder, type AskHash } from './hash.ts';
import type { Seen } from './look.ts';

const { signal } = new AbortController();
const record = sampleRestore({ revision: '100', compactRevision: '40', hash: 7, raisedFrom: undefined });
const raised = sampleRestore({ revision: '100', compactRevision: '100', hash: 7 });
const never = sampleRestore({ revision: '100', compactRevision: '-1', hash: 7, raisedFrom: undefined });
const id = record.members[0]!.id;

function answer(changes: Partial<MemberHash> = {}, index = 0): MemberHash {
  return {
    clusterId: BigInt(`0x${record.clusterId}`),
    memberId: BigInt(`0x${record.members[index]!.id}`),
    hash: 7,
    compactRevision: 40n,
    currentRevision: 100n,
    hashRevision: undefined,
    tookMs: 1,
    ...changes,
  };
}

/** Answers by the revision that is asked for, and remembers what was asked. */
function member(answers: Readonly<Record<string, MemberHash | WardenError>>): { readonly ask: AskHash; readonly asked: bigint[] } {
  const asked: bigint[] = [];
  const ask: AskHash = async (_seen, revision) => {
    asked.push(revision);
    const found = answers[String(revision)];
    if (found === undefined) throw new Error(`nobody expected revision ${revision}`);
    if (found instanceof WardenError) throw found;
    return found;
  };
  return { ask, asked };
}

const compacted = new WardenError('revision-compacted', 'the revision is compacted');
const future = new WardenError('revision-future', 'not applied yet');

describe('the hash of one member compared with the record', () => {
  test('as long as nobody wrote, its newest revision is asked for, never one by number', async () => {
    for (const [each, compactRevision] of [
      [record, 40n],
      [raised, 100n],
      [never, -1n],
      [never, 0n],
    ] as const) {
      const { ask, asked } = member({ '0': answer({ compactRevision }) });
      expect(await compareHash(each, id, soundMember(each, 0), ask)).toMatchObject({ verdict: 'recorded' });
      expect(asked).toEqual([0n]);
    }
  });

  test('when somebody wrote, the recorded revision is asked for', async () => {
    const { ask, asked } = member({ '100': answer({ currentRevision: 120n, hashRevision: 100n }) });
    expect(await compareHash(record, id, soundMember(record, 0, { revision: 120n }), ask)).toMatchObject({ verdict: 'recorded' });
    expect(asked).toEqual([100n]);
  });

  test('a write between look and hash is noticed, and the recorded revision asked for', async () => {
    const { ask, asked } = member({ '0': answer({ currentRevision: 101n, hash: 99 }), '100': answer({ currentRevision: 101n }) });
    expect(await compareHash(record, id, soundMember(record, 0), ask)).toMatchObject({ verdict: 'recorded' });
    expect(asked).toEqual([0n, 100n]);
  });

  test('another hash at the same revisions is different, with both numbers', async () => {
    const { ask } = member({ '0': answer({ hash: 8 }) });
    expect(await compareHash(record, id, soundMember(record, 0), ask)).toMatchObject({
      verdict: 'different',
      reason: 'm2 has the hash 8 at revision 100, 7 was restored',
    });
  });

  test('a lower compact revision than was restored is different when it is the newest, and proves nothing when it may be remembered', async () => {
    const lower = answer({ compactRevision: 30n });
    expect(await compareHash(record, id, soundMember(record, 0), member({ '0': lower }).ask)).toMatchObject({ verdict: 'different' });
    const later = soundMember(record, 0, { revision: 120n });
    expect(await compareHash(record, id, later, member({ '100': lower }).ask)).toMatchObject({
      verdict: 'past',
      reason: 'm2 only remembers a hash as of compact revision 30',
    });
  });

  test('once clients have compacted, there is nothing left to compare', async () => {
    const { ask } = member({ '0': answer({ compactRevision: 60n }) });
    expect(await compareHash(record, id, soundMember(record, 0), ask)).toMatchObject({
      verdict: 'past',
      reason: 'm2 is compacted to 60, 40 was restored',
    });
    expect(await compareHash(record, id, soundMember(record, 0, { revision: 120n }), member({ '100': compacted }).ask)).toBe('compacted');
  });

  test('an address that leads to another member than a moment ago is no answer', async () => {
    const { ask } = member({ '0': answer({ memberId: 5n }) });
    await expect(compareHash(record, id, soundMember(record, 0), ask)).rejects.toMatchObject({ code: 'unreachable' });
  });

  test('followers are asked before the leader', () => {
    const present = new Map(record.members.map((each, index) => [each.id, soundMember(record, index)]));
    expect(inAskingOrder(present).map(([each]) => each)).toEqual([...record.members.slice(1).map((each) => each.id), id]);
  });
});

describe('agreement between members', () => {
  const members = record.members.slice(0, 2).map((each, index): [string, Seen] => [each.id, soundMember(record, index)]);

  /** The answers of each member in the order in which it is asked. */
  function scripted(script: readonly (readonly (MemberHash | WardenError)[])[]): { readonly ask: AskHash; readonly asked: bigint[] } {
    const left = script.map((each) => [...each]);
    const asked: bigint[] = [];
    const ask: AskHash = async ({ status }, revision) => {
      asked.push(revision);
      const next = left[members.findIndex(([, seen]) => seen.status.memberId === status.memberId)]?.shift();
      if (next === undefined) throw new Error('nobody expected this question');
      if (next instanceof WardenError) throw next;
      return next;
    };
    return { ask, asked };
  }

  test('the same newest revision, compact revision and hash', async () => {
    const { ask, asked } = scripted([[answer({ currentRevision: 130n })], [answer({ currentRevision: 130n })]]);
    expect(await agreement(members, ask, signal)).toMatchObject({
      outcome: 'agreed',
      reason: '2 members have the same hash at revision 130',
    });
    expect(asked).toEqual([0n, 0n]);
  });

  test('while somebody writes, they are compared at the newest revision that any has told', async () => {
    const { ask, asked } = scripted([
      [answer({ currentRevision: 130n }), answer({ currentRevision: 140n })],
      [answer({ currentRevision: 131n }), answer({ currentRevision: 141n })],
    ]);
    expect(await agreement(members, ask, signal)).toMatchObject({ outcome: 'agreed' });
    expect(asked).toEqual([0n, 0n, 131n, 131n]);
  });

  test('a member that lags is asked again, which costs it nothing', async () => {
    const { ask, asked } = scripted([
      [answer({ currentRevision: 130n }), future, answer({ currentRevision: 131n })],
      [answer({ currentRevision: 131n }), answer({ currentRevision: 131n })],
    ]);
    expect(await agreement(members, ask, signal)).toMatchObject({ outcome: 'agreed' });
    expect(asked).toEqual([0n, 0n, 131n, 131n, 131n]);
  });

  test('a compaction in between makes for another try', async () => {
    const { ask } = scripted([
      [answer({ compactRevision: 90n }), compacted, answer({ compactRevision: 100n })],
      [answer({ compactRevision: 100n }), answer({ compactRevision: 100n })],
    ]);
    expect(await agreement(members, ask, signal)).toMatchObject({ outcome: 'agreed' });
  });

  test('a difference counts when it is found twice', async () => {
    const twice = scripted([
      [answer(), answer()],
      [answer({ hash: 8 }), answer({ hash: 8 })],
    ]);
    expect(await agreement(members, twice.ask, signal)).toMatchObject({
      outcome: 'differs',
      reason: expect.stringContaining('they did before, too'),
    });
    const once = scripted([
      [answer(), answer()],
      [answer({ hash: 8 }), answer()],
    ]);
    expect(await agreement(members, once.ask, signal)).toMatchObject({ outcome: 'agreed' });
  });

  test('releases that are known to hash wrongly prove nothing by a difference', async () => {
    const old = members.map(([each, seen]): [string, Seen] => [each, { ...seen, status: { ...seen.status, version: '3.5.7' } }]);
    const { ask } = scripted([[answer()], [answer({ hash: 8 })]]);
    expect(await agreement(old, ask, signal)).toMatchObject({ outcome: 'inconclusive', reason: expect.stringContaining('#15919') });
  });

  test('a single member has nobody to agree with', async () => {
    expect(await agreement(members.slice(0, 1), scripted([]).ask, signal)).toMatchObject({ outcome: 'inconclusive' });
  });

  test('members that never stand at one compact revision are not called different', async () => {
    const moving = (first: bigint): MemberHash[] => [0n, 1n, 2n, 3n].map((step) => answer({ compactRevision: first + step }));
    expect(await agreement(members, scripted([moving(40n), moving(41n)]).ask, signal)).toMatchObject({
      outcome: 'inconclusive',
      reason: 'no revision was found at which all members could be compared',
    });
  });
});
