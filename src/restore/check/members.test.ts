import { describe, expect, test } from 'vitest';
import { sampleRestore } from '../../../test/support/manifests.ts';
import { soundList, soundLook, soundMember } from '../../../test/support/restored-members.ts';
import type { ListedMember } from '../../etcd/types.ts';
import type { Look, Seen } from './look.ts';
import { compareMembers } from './members.ts';

const record = sampleRestore();

/** The sound look, with one member changed. */
function lookWith(index: number, change: (seen: Seen) => Seen): Look {
  const look = soundLook(record);
  return { ...look, seen: look.seen.map((seen, at) => (at === index ? change(seen) : seen)) };
}

function listedAs(change: (list: ListedMember[]) => readonly ListedMember[]): Look {
  return lookWith(1, (seen) => ({ ...seen, listed: change(soundList(record)) }));
}

describe('members of a restored cluster compared with the record', () => {
  test('as recorded: nothing is different and nobody is late', () => {
    expect(compareMembers(record, soundLook(record))).toMatchObject({ different: [], late: [] });
    expect([...compareMembers(record, soundLook(record)).present.keys()]).toEqual(record.members.map(({ id }) => id));
  });

  test('the order in which etcd lists peer URLs does not count', () => {
    const look = listedAs((list) => list.map((member) => ({ ...member, peerUrls: member.peerUrls.toReversed() })));
    expect(compareMembers(record, look).different).toEqual([]);
  });

  test.each<[string, Look, RegExp]>([
    [
      'another cluster answers at an address',
      lookWith(1, (seen) => ({ ...seen, status: { ...seen.status, clusterId: 0xabcn } })),
      /^https:\/\/10.0.0.2:2379 belongs to cluster abc, not to b0c4e1f2a3d4c5b6/,
    ],
    [
      'a member that the record does not have answers',
      lookWith(1, (seen) => ({ ...seen, status: { ...seen.status, memberId: 7n } })),
      /is member 7, which/,
    ],
    ['a learner', lookWith(1, (seen) => ({ ...seen, status: { ...seen.status, role: 'learner' } })), /m1 is a learner/],
    [
      'an alarm',
      { ...soundLook(record), seen: [soundMember(record, 0, { alarms: [{ type: 'NOSPACE', memberId: 0x1fn }] })] },
      /NOSPACE is armed for member m2/,
    ],
    [
      'an alarm of nobody',
      { ...soundLook(record), seen: [soundMember(record, 0, { alarms: [{ type: 'CORRUPT', memberId: 0n }] })] },
      /^CORRUPT is armed$/,
    ],
    [
      'an older revision',
      { ...soundLook(record), seen: [soundMember(record, 2, { revision: 41n })] },
      /m3 is at revision 41, below 1000000041/,
    ],
    [
      'a further member in the list',
      listedAs((list) => [...list, { ...list[0]!, id: 9n, name: 'm9' }]),
      /m1 lists a member m9 that the record does not have/,
    ],
    ['one that is not listed', listedAs((list) => list.slice(1)), /m1 does not list m2/],
    ['another name', listedAs((list) => [{ ...list[0]!, name: 'other' }, ...list.slice(1)]), /member 1f is called other, not m2/],
    [
      'another peer URL',
      listedAs((list) => [{ ...list[0]!, peerUrls: ['https://h:1'] }, ...list.slice(1)]),
      /peer URLs of m2 are https:\/\/h:1, not https:\/\/10.0.0.2:2380/,
    ],
    ['listed as a learner', listedAs((list) => [{ ...list[0]!, learner: true }, ...list.slice(1)]), /m2 is listed as a learner/],
  ])('%s: different at once', (_what, look, sentence) => {
    expect(compareMembers(record, look).different).toEqual([expect.stringMatching(sentence)]);
  });

  test.each<[string, Look, RegExp]>([
    [
      'a member that does not answer, with the reason',
      {
        ...soundLook(record),
        seen: soundLook(record).seen.slice(0, 2),
        silent: [{ endpoint: 'https://10.0.0.3:2379', error: new Error('connection refused') }],
      },
      /^m3 \(ffffffffffffffff\) did not answer: connection refused$/,
    ],
    [
      'a member to which no address leads',
      { ...soundLook(record), seen: soundLook(record).seen.slice(1) },
      /m2 \(1f\) did not answer: none of the addresses leads there/,
    ],
    ['no leader', lookWith(2, (seen) => ({ ...seen, status: { ...seen.status, leader: 0n } })), /^m3 knows no leader$/],
    [
      'two leaders',
      lookWith(2, (seen) => ({ ...seen, status: { ...seen.status, leader: 0x8e9e05c52164694dn } })),
      /the members name 2 leaders/,
    ],
    ['a read that fails', lookWith(2, (seen) => ({ ...seen, failures: ['etcdserver: no leader'] })), /^m3: etcdserver: no leader$/],
    [
      'client URLs that are not published',
      listedAs((list) => [{ ...list[0]!, clientUrls: [] }, ...list.slice(1)]),
      /m2 has not told m1 its client URLs yet/,
    ],
  ])('%s: waited for', (_what, look, sentence) => {
    const { different, late } = compareMembers(record, look);
    expect(different).toEqual([]);
    expect(late).toEqual([expect.stringMatching(sentence)]);
  });

  test('a leader that nobody knows is not followed in silence', () => {
    const look = { ...soundLook(record), seen: record.members.map((_, index) => soundMember(record, index, { leader: 7n })) };
    expect(compareMembers(record, look).late).toContain('m1 follows 7, which the record does not have');
  });

  test('what all members tell alike is said once', () => {
    const alarms = [{ type: 'NOSPACE', memberId: 0x1fn }] as const;
    const look = { ...soundLook(record), seen: record.members.map((_, index) => soundMember(record, index, { alarms })) };
    expect(compareMembers(record, look).different).toEqual(['NOSPACE is armed for member m2']);
  });
});
