/** Sights of memberships for the pure parts: three healthy voters of etcd 3.6, and whatever a test changes. */
import type { MembershipSight, SeenMember } from '../../src/member/types.ts';
import type { MemberStatus } from '../../src/etcd/types.ts';

export const CLUSTER = 0xc1n;

export interface Told {
  readonly name?: string;
  readonly learner?: boolean;
  readonly peerUrls?: readonly string[];
  readonly version?: string;
  readonly lag?: bigint;
  /** Of its Status; 0n = it knows none. */
  readonly leader?: bigint;
  /** `healthy`: answers reads. `deaf`: answers Status alone. `down`: was started, does not answer. `unstarted`: never was. */
  readonly is?: 'healthy' | 'deaf' | 'down' | 'unstarted';
}

export function seen(id: bigint, { name = `m${id}`, learner = false, is = 'healthy', lag = 0n, ...told }: Told = {}): SeenMember {
  const answers = is === 'healthy' || is === 'deaf';
  const host = `10.0.0.${id}`;
  const status: MemberStatus = {
    endpoint: `http://${host}:2379`,
    clusterId: CLUSTER,
    memberId: id,
    name,
    role: learner ? 'learner' : id === 1n ? 'leader' : 'follower',
    leader: told.leader ?? 1n,
    version: told.version ?? '3.6.16',
    storageVersion: undefined,
    dbSize: 1_000_000,
    dbSizeInUse: 900_000,
    dbSizeQuota: undefined,
    raftIndex: 5_000n,
    raftAppliedIndex: 5_000n - lag,
    raftTerm: 2n,
    revision: 100n,
    alarms: [],
    latencyMs: 1,
  };
  return {
    id,
    name: is === 'unstarted' ? '' : name,
    peerUrls: told.peerUrls ?? [`http://${host}:2380`],
    clientUrls: is === 'unstarted' ? [] : [status.endpoint],
    learner,
    started: is !== 'unstarted',
    reachable: answers,
    status: answers ? status : undefined,
    endpoint: answers ? status.endpoint : undefined,
    error: is === 'healthy' ? undefined : { code: 'unreachable', message: `${name} is ${is}` },
    readMs: is === 'healthy' && !learner ? 1 : undefined,
    lag: answers ? lag : undefined,
  };
}

export function sightOf(members: readonly SeenMember[], part: Partial<MembershipSight> = {}): MembershipSight {
  const voters = members.filter(({ learner }) => !learner);
  const healthy = voters.filter(({ readMs }) => readMs !== undefined).length;
  return {
    cluster: 'prod',
    clusterId: CLUSTER,
    members,
    quorum: healthy > voters.length / 2,
    voters: voters.length,
    leader: 1n,
    listed: 'quorum',
    alarms: [],
    strays: [],
    notes: [],
    ...part,
  };
}
