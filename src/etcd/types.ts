/** What the etcd clients tell about members. Ids are 64-bit: bigint inside, lower-case hex without padding where printed. */

/** How to reach a cluster; comes out of the configuration, secrets resolved by the functions given. */
export interface ClusterAccess {
  readonly name: string;
  /** `http://host:port` or `https://host:port`; a bare host:port counts as https when a CA or certificate is configured, else http. */
  readonly endpoints: readonly string[];
  readonly tls?:
    | {
        readonly caFile?: string | undefined;
        readonly certFile?: string | undefined;
        readonly keyFile?: string | undefined;
        readonly serverName?: string | undefined;
        readonly insecureSkipVerify?: boolean | undefined;
      }
    | undefined;
  readonly user?: string | undefined;
  /** Read anew at each login, so that a rotated password file counts. */
  readonly password?: (() => string) | undefined;
  /** A token that another process of ours keeps alive: tried before a login, because a login needs quorum. */
  readonly token?: string | undefined;
  /** Milliseconds for one unary call. */
  readonly requestTimeoutMs: number;
  readonly dialTimeoutMs: number;
  /** Milliseconds without a new byte after which a snapshot stream is given up. */
  readonly streamIdleTimeoutMs: number;
  /** Use the member list to find endpoints beyond the configured ones. */
  readonly discover: boolean;
}

export type Role = 'leader' | 'follower' | 'learner';

export interface Alarm {
  readonly type: 'NOSPACE' | 'CORRUPT';
  readonly memberId: bigint;
}

/** One answer to Status. */
export interface MemberStatus {
  readonly endpoint: string;
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly name: string;
  readonly role: Role;
  /** 0n when the member knows no leader. */
  readonly leader: bigint;
  readonly version: string;
  readonly storageVersion: string | undefined;
  readonly dbSize: number;
  readonly dbSizeInUse: number;
  /** 3.6.6+; undefined elsewhere. Negative = the member has none. */
  readonly dbSizeQuota: number | undefined;
  readonly raftIndex: bigint;
  readonly raftAppliedIndex: bigint;
  readonly raftTerm: bigint;
  readonly revision: bigint;
  readonly alarms: readonly Alarm[];
  /** Round trip of the Status call in milliseconds. */
  readonly latencyMs: number;
}

/** One entry of the member list. */
export interface ListedMember {
  readonly id: bigint;
  /** Empty while the member has not started yet. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly learner: boolean;
}

export interface MemberList {
  readonly clusterId: bigint;
  readonly members: readonly ListedMember[];
}

/** Reply or the reason why there is none. */
export type MemberView =
  | { readonly reachable: true; readonly endpoint: string; readonly status: MemberStatus }
  | { readonly reachable: false; readonly endpoint: string; readonly name: string | undefined; readonly error: Error };

/** Everything seen of a cluster in one round of asking. */
export interface ClusterView {
  /** Id of most reachable endpoints. */
  readonly clusterId: bigint;
  readonly members: readonly MemberView[];
  /** The member list, of the newest who would tell it; undefined when nobody did. */
  readonly listed?: readonly ListedMember[] | undefined;
  /** Some voter knows a leader. False = lost quorum, or nobody who answers can tell. */
  readonly quorum: boolean;
  /** Things worth a warning: endpoints ignored and why, excluded for another cluster id, discovery failed. */
  readonly notes: readonly string[];
}

/** A member to stream from, with the reasons why it is second-rate (empty = exactly what was asked for). */
export interface Candidate {
  readonly status: MemberStatus;
  readonly secondRate: readonly string[];
  /** Why its data may be wrong (CORRUPT armed); a backup from it is kept and named suspect. */
  readonly suspect?: string | undefined;
}

/** One answer to HashKV. */
export interface MemberHash {
  /** Who answered, whatever the address says: a load balancer may lead elsewhere. */
  readonly clusterId: bigint;
  readonly memberId: bigint;
  /** CRC32C of the records at the revision that was asked for. */
  readonly hash: number;
  /** That the member computed with; -1n when it never compacted. Not always the newest: an answer for a revision that is compacted exactly may be a remembered one. */
  readonly compactRevision: bigint;
  /** What the member has applied by now, whichever revision was asked for. */
  readonly currentRevision: bigint;
  /** The revision of the hash, which 3.6+ tells: another one than was asked for is a remembered one. */
  readonly hashRevision: bigint | undefined;
  /** From the call to the answer: the time in which that member applied no writes, and the way there and back. */
  readonly tookMs: number;
}

export interface SnapshotMessage {
  /** A view into the HTTP/2 buffers: copy it before the next message if it must live on. */
  readonly blob: Buffer;
  /** Bytes of the database still to come after this blob; the trailer is not counted. */
  readonly remaining: number;
  /** 3.6+: storage version. */
  readonly version: string | undefined;
}
