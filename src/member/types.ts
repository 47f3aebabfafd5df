/** What one look at the members of a cluster tells, and what the gates of membership answer. Ids are 64-bit: bigint here, lower-case hex where printed. */
import type { ErrorDetails } from '../errors.ts';
import type { Alarm, ListedMember, MemberStatus } from '../etcd/types.ts';

/** One entry of the member list with what is known of the process behind it. */
export interface SeenMember extends ListedMember {
  /** It has been started at least once: only then etcd knows its name. */
  readonly started: boolean;
  /** It answers Status, by its own id. */
  readonly reachable: boolean;
  readonly status: MemberStatus | undefined;
  /** Where it answers; undefined when it does not. */
  readonly endpoint: string | undefined;
  /** Why it is not reachable, or why a linearizable read through it failed. */
  readonly error: ErrorDetails | undefined;
  /** Milliseconds of a linearizable read through it: it takes part in the quorum. Undefined when it failed, and for learners, which answer none. */
  readonly readMs: number | undefined;
  /** Raft entries that it has applied less than the leader has. */
  readonly lag: bigint | undefined;
}

/** An address that answers as somebody of another cluster, or as a member that is not in the list (any more). */
export interface Stray {
  readonly endpoint: string;
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly version: string;
  /** Name (or hex id) of the listed member that advertises the address. */
  readonly advertisedBy: string | undefined;
  /** Of the same cluster, but not in its list: it was removed and its process still runs. */
  readonly removed: boolean;
}

export interface MembershipSight {
  /** As configured. */
  readonly cluster: string;
  readonly clusterId: bigint;
  /** In the order of the list. */
  readonly members: readonly SeenMember[];
  /** A linearizable read went through: a majority of the voters is there and agrees. */
  readonly quorum: boolean;
  /** Number of voters in the list, whether they answer or not. */
  readonly voters: number;
  /** Undefined when nobody knows one. */
  readonly leader: bigint | undefined;
  /** `quorum`: agreed upon just now. `memory`: as one member remembers it, perhaps from before it lost touch. */
  readonly listed: 'quorum' | 'memory';
  readonly alarms: readonly Alarm[];
  readonly strays: readonly Stray[];
  /** Things worth a warning: addresses that were not asked, and why. */
  readonly notes: readonly string[];
}

/** The rules of membership, by stable names; each is explained in docs/members.md. */
export const MEMBER_RULES = {
  'no-quorum': 'no majority of the voters answers: no change can be agreed upon',
  'quorum-after': 'the voters that are healthy now would be no majority after the change',
  'last-voter': 'the only voter, or the only one that answers, would go',
  'member-down': 'a voter is down, and is not the one that is removed',
  'change-under-way': 'another change is not finished: a member that was never started, or a learner',
  'corrupt-alarm': 'CORRUPT is armed: a new member would be given damaged data',
  'voter-untried': 'a voter counts for the quorum before it was ever started',
  'leader-leaves': 'the leader is the one that leaves: the leadership is moved first',
  'even-voters': 'an even number of voters bears no more failures than one less',
  'name-taken': 'another member has that name',
  'peer-url-taken': 'another member has that peer URL',
  'peer-url-busy': 'somebody runs at the peer URL already',
  'peer-url-scheme': 'the scheme of the peer URL is not that of the others',
  'version-hazard': 'a release of etcd in which this change goes wrong',
  'not-learner': 'the member is a voter already',
  'not-started': 'the member has never been started, or does not answer',
  'not-caught-up': 'the learner is behind',
  'unknown-member': 'the cluster has no such member',
  'name-ambiguous': 'several members have that name',
  'not-broken': 'nothing is wrong with the member that is to be replaced',
  'corrupt-elsewhere': 'CORRUPT is armed for another member than the one that is to be replaced',
  'wrong-data': 'the data directory that was named is that of another member',
  'start-settings': 'what the unit or static pod would start is not what the cluster needs',
  managed: 'somebody else seems to manage the membership (RKE2, k3s)',
} as const;

export type MemberRule = keyof typeof MEMBER_RULES;

/** One gate with its verdict, for `--dry-run`, the log and whoever is asked. */
export interface MemberGate {
  readonly rule: MemberRule;
  /** Name (or hex id) of the member that it is about; undefined = the cluster. */
  readonly member: string | undefined;
  /** `warned`: it is done all the same. `overridden`: it would be refused, and was asked for in so many words. */
  readonly verdict: 'passed' | 'refused' | 'overridden' | 'warned';
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}

/** What a change needs to tell while it waits. */
export interface MemberContext {
  readonly signal: AbortSignal;
  readonly progress: (event: {
    readonly step: string;
    readonly message?: string;
    readonly subject?: string;
    readonly finished?: boolean;
  }) => void;
}
