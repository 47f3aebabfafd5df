import { status as Code } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import type { ProofConfig } from '../../../src/config/types.ts';
import type { ClusterAccess, ClusterView, MemberStatus } from '../../../src/etcd/types.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import { askByPlan, type Asked, type AskOptions } from '../../../src/jobs/proof/ask.ts';
import { planProof, type ProofPlan } from '../../../src/jobs/proof/policy.ts';
import { freshStatuses } from '../../../src/jobs/proof/statuses.ts';
import { judge, type LocalHash, type Verdict } from '../../../src/jobs/proof/verdict.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { GrpcFailure, startFakeMember, type FakeMember } from '../../support/fake-member.ts';
import { encode, integer } from '../../support/wire.ts';

/** Members that lie, lag, hang and refuse: no real one does so when it is asked to. */
const HASH_KV = 'etcdserverpb.Maintenance/HashKV';
const RIGHT = 4_000_000_000;
const WRONG = 1_234;
const REVISION = 100n;

const members: FakeMember[] = [];
afterEach(() => Promise.all(members.splice(0).map((member) => member.close())));

interface Manner {
  /** Of each answer; the last one is repeated. */
  readonly hashes?: readonly number[];
  readonly compactRevision?: bigint;
  readonly hashRevision?: bigint;
  readonly revision?: bigint;
  readonly version?: string;
  readonly fails?: GrpcFailure;
  readonly hangs?: boolean;
  readonly memberId?: bigint;
}

/** Followers m1, m2, … in the order of asking. */
async function cluster(...manners: readonly Manner[]): Promise<Subject> {
  for (const [index, manner] of manners.entries()) {
    const member = await startFakeMember({
      name: `m${index + 1}`,
      memberId: BigInt(index + 1),
      revision: manner.revision ?? REVISION,
      status: { version: manner.version ?? '3.6.16', leader: 99n, dbSizeInUse: 1_000 },
    });
    let answers = 0;
    member.answers.set(HASH_KV, (request) => {
      if (manner.fails !== undefined) throw manner.fails;
      if (manner.hangs === true) return new Promise<Buffer>(() => {});
      if (integer(request, 1) > member.revision)
        throw new GrpcFailure(Code.OUT_OF_RANGE, 'etcdserver: mvcc: required revision is a future revision');
      const hash = manner.hashes?.[Math.min(answers++, manner.hashes.length - 1)] ?? RIGHT;
      if (manner.memberId !== undefined) member.memberId = manner.memberId;
      return encode([1, member.header()], [2, hash], [3, manner.compactRevision ?? -1n], [4, manner.hashRevision ?? integer(request, 1)]);
    });
    members.push(member);
  }
  const access: ClusterAccess = {
    name: 'main',
    endpoints: members.map(({ endpoint }) => endpoint),
    requestTimeoutMs: 2_000,
    dialTimeoutMs: 1_000,
    streamIdleTimeoutMs: 1_000,
    discover: false,
  };
  const statuses = await Promise.all(members.map((member) => statusOf(access, member)));
  const options: AskOptions = {
    access,
    timeoutMs: 300,
    context: { signal: new AbortController().signal, logger: silentLogger, progress: () => {} },
  };
  return { access, statuses, options };
}

interface Subject {
  readonly access: ClusterAccess;
  readonly statuses: readonly MemberStatus[];
  readonly options: AskOptions;
}

async function statusOf(access: ClusterAccess, member: FakeMember): Promise<MemberStatus> {
  const client = new MemberClient(access, member.endpoint);
  try {
    return { ...(await client.status()), name: member.name };
  } finally {
    client.close();
  }
}

type Plan = Extract<ProofPlan, { kind: 'ask' }>;

function planFor({ statuses }: Subject, who: ProofConfig['members']): Plan {
  const config = { members: who, allEveryMs: 0, maxStallMs: 1_000 };
  const plan = planProof({ statuses, history: [], sinceMs: undefined, doubted: [], config, nowMs: 0, inWindow: false });
  if (plan.kind !== 'ask') throw new Error(plan.reason);
  return plan;
}

interface Question {
  readonly who?: ProofConfig['members'];
  readonly local?: Partial<LocalHash>;
  readonly compactRevision?: bigint;
  readonly voters?: number;
  readonly advance?: () => Promise<void>;
}

async function prove(subject: Subject, question: Question = {}): Promise<{ verdict: Verdict; asked: Asked; plan: Plan }> {
  const plan = planFor(subject, question.who ?? 'follower');
  const asked = await askByPlan(plan, REVISION, subject.options);
  const local = { hash: async () => RIGHT, again: async () => RIGHT, ...question.local };
  const verdict = await judge(
    {
      revision: REVISION,
      compactRevision: question.compactRevision ?? 0n,
      voters: question.voters ?? members.length,
      local,
    },
    plan,
    asked,
    { ...subject.options, advance: question.advance ?? (async () => members.forEach((member) => (member.revision += 1n))) },
  );
  return { verdict, asked, plan };
}

const asks = (): number[] => members.map((member) => member.count(HASH_KV));

describe('one member answers', () => {
  test('with the hash of the file: proved, and nobody else is asked', async () => {
    const { verdict } = await prove(await cluster({}, {}));
    expect(verdict).toEqual({
      proof: {
        revision: '100',
        compactRevision: '-1',
        hash: RIGHT,
        members: ['m1'],
        tookMs: expect.any(Number) as number,
        bytes: 1_000,
      },
      warnings: [],
    });
    expect(asks()).toEqual([1, 0]);
  });

  test('with another hash than the first count of the file, but that of the second: two keys shared a digest, nobody is alarmed', async () => {
    const { verdict } = await prove(await cluster({}, {}), { local: { hash: async () => WRONG } });
    expect(verdict).toMatchObject({ proof: { members: ['m1'] }, warnings: [] });
    expect(asks()).toEqual([1, 0]);
  });

  test.each([
    ['a remembered one of an earlier compaction', { compactRevision: 4n }, 'remembers a hash as of compact revision 4'],
    ['one of another revision', { hashRevision: 90n }, 'answered for revision 90'],
    ['one of a compaction beyond the file', { compactRevision: 101n }, 'is compacted up to 101'],
  ])('with a hash that cannot be compared: %s', async (_what, manner, reason) => {
    const { verdict } = await prove(await cluster(manner), { compactRevision: 12n });
    expect(verdict).toMatchObject({ unproved: { code: 'revision-compacted', reason: expect.stringContaining(reason) as string } });
  });
});

describe('a member that gives no hash', () => {
  test('a follower that is gone is passed over', async () => {
    const subject = await cluster({}, {});
    await members[0]!.close();
    const { verdict, asked } = await prove(subject);
    expect(verdict).toMatchObject({ proof: { members: ['m2'] }, warnings: [{ code: 'proof-member-failed' }] });
    expect(asked.failures).toMatchObject([{ code: 'unreachable' }]);
  });

  test('who does not answer in time is still frozen, so nobody else is asked', async () => {
    const { verdict } = await prove(await cluster({ hangs: true }, {}));
    expect(verdict).toEqual({ unproved: { code: 'timeout', reason: expect.stringContaining('within 300 ms') as string }, warnings: [] });
    expect(asks()).toEqual([1, 0]);
  });

  test.each([
    [Code.OUT_OF_RANGE, 'etcdserver: mvcc: required revision has been compacted', 'revision-compacted'],
    [Code.UNKNOWN, 'auth: permission denied', 'permission-denied'],
    [Code.PERMISSION_DENIED, 'etcdserver: permission denied', 'permission-denied'],
  ])('a refusal that all would repeat is asked for once: %s %s', async (code, details, expected) => {
    const { verdict } = await prove(await cluster({ fails: new GrpcFailure(code, details) }, {}));
    expect(verdict).toMatchObject({ unproved: { code: expected }, warnings: [] });
    expect(asks()).toEqual([1, 0]);
  });

  test('a follower that lags is waited for', async () => {
    const subject = await cluster({ revision: 90n }, {});
    setTimeout(() => (members[0]!.revision = REVISION), 300);
    const { verdict } = await prove(subject);
    expect(verdict).toMatchObject({ proof: { members: ['m1'] } });
    expect(asks()[0]).toBeGreaterThan(1);
  });

  test('an address that leads to another member proves nothing for this one', async () => {
    const { verdict } = await prove(await cluster({ memberId: 77n }, {}));
    expect(verdict).toMatchObject({
      proof: { members: ['m2'] },
      warnings: [{ message: expect.stringContaining('another member') as string }],
    });
  });

  test('who has gone or changed since the first look is not asked at all', async () => {
    const { access, statuses } = await cluster({}, {}, {});
    const view: ClusterView = {
      clusterId: statuses[0]!.clusterId,
      quorum: true,
      notes: [],
      members: statuses.map((status) => ({ reachable: true, endpoint: status.endpoint, status })),
    };
    await members[0]!.close();
    members[1]!.memberId = 55n;
    expect((await freshStatuses(access, view, new AbortController().signal)).map(({ name }) => name)).toEqual(['m3']);
  });
});

describe('a member with other data than the file', () => {
  const LIAR = { hashes: [WRONG] };

  test('the others are asked, and when all differ the file is suspect', async () => {
    const { verdict } = await prove(await cluster(LIAR, LIAR, LIAR));
    expect(verdict).toMatchObject({
      unproved: { code: 'differs' },
      suspect: expect.stringContaining('at revision 100 the file differs from m1, m2, m3') as string,
    });
    expect(asks()).toEqual([1, 1, 1]);
  });

  test('so it is when the only member differs from its own file', async () => {
    expect((await prove(await cluster(LIAR))).verdict).toMatchObject({
      unproved: { code: 'differs' },
      suspect: expect.any(String) as string,
    });
  });

  test('when none of the others can be asked nobody can tell', async () => {
    expect((await prove(await cluster(LIAR), { voters: 3 })).verdict).toEqual({
      unproved: { code: 'inconclusive', reason: expect.stringContaining('no other member could be asked') as string },
      warnings: [],
    });
  });

  test('releases that are known to hash wrongly make nobody suspect', async () => {
    const { verdict } = await prove(await cluster({ ...LIAR, version: '3.5.9' }));
    expect(verdict).toMatchObject({ unproved: { code: 'inconclusive', reason: expect.stringContaining('#15919') as string } });
    expect(verdict).not.toHaveProperty('suspect');
  });

  test('when one of the others agrees the file is proved, and the disagreement is found again at a newer revision', async () => {
    const { verdict } = await prove(await cluster(LIAR, {}, {}));
    expect(verdict).toMatchObject({
      proof: { members: ['m2'] },
      disagreement: { members: ['m1'], reason: 'm1 has other data than m2 at revisions 100 and 101' },
      suspect: expect.stringContaining('this file is as m2 has it') as string,
    });
    expect(asks()).toEqual([2, 2, 0]);
  });

  test.each([
    ['it was a passing thing', { hashes: [WRONG, RIGHT] }, 'they agree at revision 101'],
    ['its release is known to hash wrongly', { hashes: [WRONG], version: '3.4.33' }, '#18274'],
    ['the members are compacted between the answers', { hashes: [WRONG], compactRevision: 7n }, 'they were compacted in between'],
  ])('nobody is alarmed when %s', async (_what, manner, reason) => {
    const { verdict } = await prove(await cluster(manner, {}));
    expect(verdict).toMatchObject({
      proof: { members: ['m2'] },
      warnings: [{ code: 'members-differ-unclear', message: expect.stringContaining(reason) as string }],
    });
    expect(verdict).not.toHaveProperty('suspect');
    expect(verdict).not.toHaveProperty('disagreement');
  });

  test('nobody is alarmed when the cluster has no newer revision to look at', async () => {
    const { verdict } = await prove(await cluster(LIAR, {}), { advance: () => Promise.reject(new Error('NOSPACE')) });
    expect(verdict).toMatchObject({ warnings: [{ message: expect.stringContaining('the revision does not move') as string }] });
  });
});
