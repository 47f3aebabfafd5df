/**
 * What a plan of a restore is made from, and what it says. Both are plain objects that survive JSON: 64-bit numbers are decimal or hex strings. The text for
 * people is in cli/restore-plan.ts.
 */
import type { Builder, Content, EtcdMinor, NewCluster, Platform } from '../types.ts';

/** A store that holds the backup. */
export interface PlanStore {
  readonly name: string;
  /** `s3://bucket/prefix`, or the folder. */
  readonly address: string;
  /** A folder on the machine that plans: other machines do not see it. */
  readonly local: boolean;
  /** Names of the objects that make up the backup, below the address: its data, then its manifest. */
  readonly objects: readonly string[];
}

/** What is known of the snapshot before it is read. */
export interface PlanSource {
  readonly kind: 'backup' | 'file';
  /** The backup's id, or the absolute path of the file. */
  readonly name: string;
  /** When it was taken, RFC 3339; unknown of most files. */
  readonly time: string | undefined;
  /** The time that was asked for with `--at`, RFC 3339. */
  readonly askedTime: string | undefined;
  /** Name of its cluster in the stores; undefined for a file. */
  readonly cluster: string | undefined;
  /** Of the snapshot; undefined for a file that was not looked into. */
  readonly revision: string | undefined;
  readonly compactRevision: string | undefined;
  readonly databaseBytes: number;
  readonly storedBytes: number | undefined;
  /** Release of the member that it was taken of. */
  readonly etcdVersion: string | undefined;
  /** Whether keys of Kubernetes are in it; undefined = not known before it is read. */
  readonly kubernetes: boolean | undefined;
  /** Whether users and roles are in it; undefined = not known. */
  readonly auth: boolean | undefined;
  /** Why nobody should count on it. */
  readonly suspect: string | undefined;
  /** Kinds of alarms that are armed in it. */
  readonly alarms: readonly string[];
  readonly encrypted: boolean;
  /** Empty for a file. */
  readonly stores: readonly PlanStore[];
}

/** Where one member of the new cluster shall lie. Every member of the cluster has one. */
export interface PlanTarget {
  readonly member: string;
  readonly dataDir: string;
  readonly walDir: string | undefined;
  /** On the machine that plans; undefined = nobody knows. */
  readonly here: boolean | undefined;
  /** Whether something stands at the data directory; undefined = nobody looked. */
  readonly occupied: boolean | undefined;
  /** Where it serves clients; undefined = what the endpoints tell, else port 2379 of its peer URL's host is assumed, and that is said. */
  readonly clientUrls: readonly string[] | undefined;
}

export interface PlanInput {
  /** RFC 3339: names the directories that are moved away by hand. */
  readonly time: string;
  readonly source: PlanSource;
  readonly cluster: NewCluster;
  /** `--initial-cluster-token` was given, so that it must be given everywhere. */
  readonly tokenGiven: boolean;
  readonly attempt: number;
  readonly content: Content;
  readonly minor: EtcdMinor;
  readonly minorReason: string;
  /** Of the machine that plans; others choose for themselves, and make the same members. */
  readonly builder: { readonly name: Builder; readonly reason: string };
  /** What was asked for: repeated in the commands unless it is `auto`. */
  readonly builderAsked: 'auto' | Builder;
  readonly platform: Platform;
  readonly platformReason: string;
  /** Of systemd, without `.service`; undefined = `etcd`. */
  readonly unit: string | undefined;
  readonly targets: readonly PlanTarget[];
  /** Client URLs of the old cluster, as they are configured: its members are often the new ones. */
  readonly endpoints?: readonly string[];
  /** As `--owner` was typed. */
  readonly owner: string | undefined;
  readonly acceptSuspect: boolean;
  /**
   * Words that name configuration and stores on the command line (`--config FILE --cluster NAME`, `--from URL`, `--identity-file FILE`), as they were given;
   * they are repeated in every command. `--from` of a local store is replaced on other machines.
   */
  readonly sourceFlags: readonly string[];
  /** Words that let etcd be asked (`--cacert`, `--cert`, `--key` ...), for `restore --check`. */
  readonly accessFlags: readonly string[];
}

/** One thing to do, by whom, and why. */
export interface PlanStep {
  /** Stable name: `stop-clients`, `stop-etcd`, `fetch`, `restore`, `configure`, `start-etcd`, `check`, `start-clients`, `restart-caches`, `export`, `reset`, `start-first`, `move-db`, `start-others`, `clean-up`. */
  readonly name: string;
  readonly title: string;
  readonly why: string;
  /** In words: `every machine with an API server`, `each member's machine`, `m2 (10.0.0.2)`. */
  readonly where: string;
  /** Name of the member whose machine it is; undefined = as `where` says. */
  readonly member: string | undefined;
  /** One shell command each; those of several lines are pasted as a whole. Empty where it cannot be put as a command. */
  readonly commands: readonly string[];
  /** Sentences. What follows a line break in one is to be taken letter by letter. */
  readonly notes: readonly string[];
}

/** How a machine without etcd-warden makes the same member. */
export type EtcdutlWay =
  | { readonly possible: true; readonly commands: readonly string[]; readonly notes: readonly string[] }
  | { readonly possible: false; readonly reason: string };

export interface MemberPlan {
  readonly name: string;
  /** Hex. */
  readonly id: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** Of its first peer URL: what ssh and scp are told. */
  readonly host: string;
  readonly here: boolean | undefined;
  readonly dataDir: string;
  readonly walDir: string | undefined;
  /** Puts the backup where `restore` finds it, run on the machine that plans; empty when it gets there by itself. */
  readonly fetch: readonly string[];
  readonly restore: string;
  readonly etcdutl: EtcdutlWay;
  /** Of etcd, one word each. */
  readonly flags: readonly string[];
  /** The same as environment. One or the other: etcd refuses to start when a setting is in both. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface RestorePlan {
  readonly source: Omit<PlanSource, 'stores'> & {
    /** ms between the asked time and the backup's. */
    readonly gapMs: number | undefined;
    readonly stores: readonly { readonly name: string; readonly address: string; readonly local: boolean }[];
  };
  readonly attempt: number;
  readonly token: string;
  readonly tokenFrom: 'derived' | 'given';
  /** Hex. */
  readonly clusterId: string;
  readonly initialCluster: string;
  readonly etcd: { readonly minor: EtcdMinor; readonly reason: string };
  readonly builder: { readonly name: Builder; readonly reason: string };
  readonly platform: { readonly name: Platform; readonly reason: string };
  readonly revisions: {
    readonly raised: 'yes' | 'no' | 'if-kubernetes';
    /** Decimal; absent when they are not raised. */
    readonly by?: string;
    readonly from?: string;
    readonly to?: string;
    readonly why: string;
  };
  /** Read them before the first step. */
  readonly warnings: readonly string[];
  /** Empty on platforms that restore by their own procedure. */
  readonly members: readonly MemberPlan[];
  readonly steps: readonly PlanStep[];
  /** What no snapshot holds, and where it usually lies. */
  readonly notInSnapshot: readonly { readonly what: string; readonly where: string }[];
}
