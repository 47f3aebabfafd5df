/** The configuration after merging and validation: what every other folder works with. Milliseconds and bytes are plain numbers. */

/** A secret that is read when it is needed, so that rotated files count; never printed. */
export interface Secret {
  /** Where it comes from, for `config print` and errors: `file /etc/x`, `environment ETCDCTL_PASSWORD`, `credential etcd-password`. */
  readonly origin: string;
  /** @throws WardenError `config-invalid` when the file or variable is gone. The value has its final newline cut off. */
  read(): string;
}

export interface Schedule {
  /** Cron expression of five fields (six: seconds first), or undefined = never by itself. */
  readonly cron: string | undefined;
  /** IANA name. */
  readonly timeZone: string;
  /** A run starts up to this many ms late, at random. */
  readonly jitterMs: number;
}

export interface RetentionConfig {
  readonly keepLast: number;
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly keepWeekly: number;
  readonly keepMonthly: number;
  readonly keepYearly: number;
  readonly keepWithinMs: number;
  readonly timeZone: string;
  readonly maxRemovals: number;
}

export interface ProofConfig {
  readonly enabled: boolean;
  /** One follower by turns, or everybody. */
  readonly members: 'follower' | 'all';
  /** Every member is asked this often, ms; 0 = never for that reason. */
  readonly allEveryMs: number;
  /** Longest time that a member may be made to apply no writes outside the window, ms. */
  readonly maxStallMs: number;
  /** Longest wait for one answer, ms. */
  readonly timeoutMs: number;
  /** Beginnings of the time in which `maxStallMs` does not count, in the time zone of the backups; undefined = never. */
  readonly window: { readonly cron: string; readonly timeZone: string; readonly lengthMs: number } | undefined;
}

export interface MaintenanceConfig {
  /** Whether the daemon acts by itself; it observes in any case. */
  readonly enabled: boolean;
  /** When the daemon looks whether something is worth doing; a crossed threshold is acted upon at once. */
  readonly schedule: Schedule;
  /** Beginnings of the time in which routine work is done and `maxFreezeMs` does not count; undefined = any time, with `maxFreezeMs`. */
  readonly window: { readonly cron: string; readonly timeZone: string; readonly lengthMs: number } | undefined;
  /** `auto`: unless Kubernetes or etcd itself does it. */
  readonly compaction: 'auto' | 'on' | 'off';
  /** History that a routine compaction keeps. */
  readonly keep: { readonly revisions: number } | { readonly ms: number };
  /** History that the cure of NOSPACE keeps: whichever of the two is less. */
  readonly emergencyKeep: { readonly revisions: number; readonly ms: number };
  /** A member is near its quota at this share of it, 0 to 1. */
  readonly quotaShare: number;
  /** Too much of a member is free at this share of its size, 0 to 1. */
  readonly freeShare: number;
  /** And at least so many bytes. */
  readonly minFree: number;
  /** Near the quota, so many bytes must be gained. */
  readonly minGain: number;
  /** Between two defragmentations of a member, ms. */
  readonly cooldownMs: number;
  /** Longest predicted freeze of a member outside the window, ms. */
  readonly maxFreezeMs: number;
  /** Freeze a member of a cluster with one or two voters, which stops the cluster meanwhile. */
  readonly allowSingleMember: boolean;
  /** Act on releases of etcd on which that is known to do damage. */
  readonly allowHazardousVersions: boolean;
  /** Wait after a member's start, where etcd #20271 is not fixed, ms. */
  readonly restartQuietMs: number;
  /** Wait between two members, ms. */
  readonly settleMs: number;
  /** Where no member tells its quota, bytes; undefined = etcd's default. */
  readonly quota: number | undefined;
  readonly metrics: {
    /** With `{host}` for the host of the member's client address; undefined = the client address. */
    readonly url: string | undefined;
    readonly caFile: string | undefined;
    readonly certFile: string | undefined;
    readonly keyFile: string | undefined;
  };
}

export interface RestoreConfig {
  /** As it was typed: `name=peer URL` joined by commas. */
  readonly initialCluster: string | undefined;
  /** Absolute. */
  readonly dataDir: string | undefined;
  readonly walDir: string | undefined;
  readonly platform: 'auto' | 'systemd' | 'kubeadm' | 'rke2' | 'k3s' | 'plain';
  /** As it was typed, such as `3.6` or `3.6.4`; undefined = the backup's. */
  readonly etcdVersion: string | undefined;
  readonly builder: 'auto' | 'native' | 'etcdutl';
  /** Path or name of a program; undefined = looked for. */
  readonly etcdutl: string | undefined;
}

export interface DrillConfig {
  readonly schedule: Schedule;
  /** readyz fails when the last one that succeeded is older, ms. */
  readonly maxAgeMs: number;
  /** For one store, ms. */
  readonly timeoutMs: number;
  /** Path or name of a program; undefined = looked for. */
  readonly etcd: string | undefined;
  /** Absolute; undefined = the state folder. */
  readonly folder: string | undefined;
  /** Allowed on the disk of an etcd on this machine. */
  readonly sharedDisk: boolean;
  /** Keys that are read and compared. */
  readonly sample: number;
}

export interface ClusterConfig {
  readonly name: string;
  readonly endpoints: readonly string[];
  readonly tls: {
    readonly caFile: string | undefined;
    readonly certFile: string | undefined;
    readonly keyFile: string | undefined;
    readonly serverName: string | undefined;
    readonly insecureSkipVerify: boolean;
  };
  readonly user: string | undefined;
  readonly password: Secret | undefined;
  readonly discover: boolean;
  /** `leader`, `follower`, `learner`, or one of the endpoints. */
  readonly member: string;
  readonly dialTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly streamIdleTimeoutMs: number;
  /** Election and lock in etcd between several daemons. */
  readonly coordinate: boolean;
  /** Prefix of our own keys in etcd. */
  readonly keyPrefix: string;
  /** Data directory of an etcd on this machine, to notice a shared device; undefined = looked for. */
  readonly dataDir: string | undefined;
  readonly backup: {
    readonly schedule: Schedule;
    /** Names of stores; empty only without a file and without `--to`. */
    readonly stores: readonly string[];
    /** readyz fails when the newest backup is older. */
    readonly maxAgeMs: number;
    readonly retries: number;
    readonly retryDelayMs: number;
    /** Bytes per second of the snapshot stream, 0 = as fast as possible. */
    readonly maxRate: number;
    readonly label: string | undefined;
    /** Whole backup, ms. */
    readonly timeoutMs: number;
    /** How late a missed slot is still caught up, ms. */
    readonly catchUpMs: number;
  };
  /** Whether a key index is built beside each backup. */
  readonly index: { readonly enabled: boolean };
  readonly proof: ProofConfig;
  readonly maintenance: MaintenanceConfig;
  readonly verify: {
    /** When the daemon reads stored backups again. */
    readonly schedule: Schedule;
    readonly level: 'stored' | 'content' | 'proved';
    /** Every backup is read again at least once in so many ms. */
    readonly everyMs: number;
  };
  readonly restore: RestoreConfig;
  readonly drill: DrillConfig;
  readonly encryption: {
    /** age recipients (`age1…`); empty = none. */
    readonly recipients: readonly string[];
    readonly identity: Secret | undefined;
  };
  readonly retention: RetentionConfig;
}

export interface LocalStoreConfig {
  readonly type: 'local';
  readonly name: string;
  /** Absolute. */
  readonly path: string;
}

export interface S3StoreConfig {
  readonly type: 's3';
  readonly name: string;
  readonly bucket: string;
  /** No leading or trailing slash; may be empty. */
  readonly prefix: string;
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly pathStyle: boolean;
  readonly caFile: string | undefined;
  readonly proxy: string | undefined;
  readonly storageClass: string | undefined;
  readonly encryption: 'none' | 'sse-s3' | 'sse-kms' | 'sse-c';
  readonly kmsKeyId: string | undefined;
  /** Base64 of 32 bytes. */
  readonly customerKey: Secret | undefined;
  /** `crc32` = parts and whole; `none` for older servers (size and our own SHA-256 remain). */
  readonly checksum: 'crc32' | 'none';
  readonly accessKeyId: Secret | undefined;
  readonly secretAccessKey: Secret | undefined;
  readonly sessionToken: Secret | undefined;
  /** Profile of the shared credentials file. */
  readonly profile: string | undefined;
  readonly connectTimeoutMs: number;
  /** One request without progress, ms. */
  readonly requestTimeoutMs: number;
  readonly retries: number;
  /** Bytes per second, 0 = unlimited. */
  readonly maxRate: number;
}

export type StoreConfig = LocalStoreConfig | S3StoreConfig;

export interface Config {
  /** Path of the file, or undefined in file-less mode. */
  readonly file: string | undefined;
  readonly clusters: Readonly<Record<string, ClusterConfig>>;
  readonly stores: Readonly<Record<string, StoreConfig>>;
  readonly stateDir: string;
  readonly log: { readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error'; readonly format: 'auto' | 'json' | 'text' };
  readonly http: {
    /** `host:port` of probes and metrics, or undefined = off. */
    readonly listen: string | undefined;
  };
  readonly api: {
    /** `host:port`, or undefined = off. */
    readonly listen: string | undefined;
    readonly token: Secret | undefined;
    readonly certFile: string | undefined;
    readonly keyFile: string | undefined;
    /** Names accepted in the Host header besides the listen address and localhost. */
    readonly hosts: readonly string[];
  };
  readonly daemon: {
    /** How long SIGTERM waits for running jobs, ms. */
    readonly graceMs: number;
    readonly heavyJobs: number;
    /** Leftovers younger than this are not swept, ms. */
    readonly sweepAgeMs: number;
  };
}

/** Where a value came from, for `config print` and errors. */
export type Origin =
  | { readonly kind: 'default' }
  /** Line and column count from 1; line 0 = the file as a whole. */
  | { readonly kind: 'file'; readonly path: string; readonly line: number; readonly column?: number }
  | { readonly kind: 'environment'; readonly name: string }
  /** A file of systemd's credentials directory. */
  | { readonly kind: 'credential'; readonly name: string }
  /** Without the leading dashes. */
  | { readonly kind: 'flag'; readonly name: string };
