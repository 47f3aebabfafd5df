/** What members of a restored cluster answer, for tests that ask none. */
import type { ListedMember, MemberStatus } from '../../src/etcd/types.ts';
import type { RestoreRecord } from '../../src/format/types.ts';
import type { Look, Seen } from '../../src/restore/check/look.ts';

/** Every member as the record has it; the first one leads. */
export function soundLook(record: RestoreRecord): Look {
  return { seen: record.members.map((_, index) => soundMember(record, index)), silent: [], notes: [] };
}

export function soundMember(record: RestoreRecord, index: number, changes: Partial<MemberStatus> = {}): Seen {
  const { id, name } = record.members[index]!;
  const status: MemberStatus = {
    endpoint: `https://10.0.0.${index + 1}:2379`,
    clusterId: BigInt(`0x${record.clusterId}`),
    memberId: BigInt(`0x${id}`),
    name,
    role: index === 0 ? 'leader' : 'follower',
    leader: BigInt(`0x${record.members[0]!.id}`),
    version: '3.6.16',
    storageVersion: undefined,
    dbSize: 20_480,
    dbSizeInUse: 20_480,
    dbSizeQuota: undefined,
    raftIndex: 5n,
    raftAppliedIndex: 5n,
    raftTerm: 2n,
    revision: BigInt(record.revision),
    alarms: [],
    latencyMs: 1,
    ...changes,
  };
  return { status, listed: soundList(record), failures: [] };
}

export function soundList(record: RestoreRecord): ListedMember[] {
  return record.members.map(({ id, name, peerUrls }, index) => ({
    id: BigInt(`0x${id}`),
    name,
    peerUrls,
    clientUrls: [`https://10.0.0.${index + 1}:2379`],
    learner: false,
  }));
}
