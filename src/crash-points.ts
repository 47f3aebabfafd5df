/**
 * Named places at which a test kills the process with SIGKILL, as a crash or `kill -9` would: the promise is that nothing half-written
 * is ever visible, whatever the place. Each name is called where its comment says; a test holds that every name is called somewhere.
 */
export const CRASH_POINTS = [
  /** The temporary file exists and is empty. */
  'open-tmp',
  /** Its first bytes are written, or read back for the upload. */
  'first-byte',
  /** Some bytes later, or the first part is up. */
  'mid',
  'before-fsync',
  'after-fsync',
  /** The object is durable under its temporary name (local), or all parts are up (S3: `before-complete`). */
  'before-rename',
  'after-rename',
  'before-dir-fsync',
  'after-dir-fsync',
  /** S3: the multipart upload exists, without parts. */
  'after-create',
  'before-complete',
  'after-complete',
  /** The data is on every store, the manifest on none. */
  'before-manifest',
  'after-manifest',
  'before-retention',
  /** A manifest is deleted, its data is not. */
  'mid-prune',
] as const;

/** The same inside a round of maintenance. */
export const MAINTENANCE_CRASH_POINTS = [
  /** Everything is checked and the lock is held, etcd has been asked for nothing. */
  'before-compact',
  /** Compacted, but not yet on every member, and not noted. */
  'after-compact',
  'before-move-leader',
  'after-move-leader',
  'before-defrag',
  /** The member is frozen. */
  'mid-defrag',
  /** It answers again, and nothing is noted. */
  'after-defrag',
  'before-disarm',
  /** Disarmed, but not proved by a put. */
  'mid-disarm',
  'after-disarm',
] as const;

/** The same inside a restore. */
export const RESTORE_CRASH_POINTS = [
  /** The folders that it builds in exist, and are empty. */
  'restore-staged',
  /** The database is written, no log yet. */
  'restore-database',
  /** Everything is written and synced, nothing is in its place. */
  'restore-built',
  /** The record lies beside the data directory. */
  'restore-recorded',
  /** A WAL directory of its own holds what keeps etcd from starting on half of a member. */
  'restore-wal-blocked',
  'restore-old-wal-aside',
  'restore-old-data-aside',
  'restore-data-put',
  'restore-wal-put',
  /** Every member is in its place, the folders that were built in are still there. */
  'restore-published',
] as const;

/** The same while a member is replaced. */
export const REPLACE_CRASH_POINTS = [
  /** Who it was is noted, and nothing was changed. */
  'after-note',
  'after-remove',
  /** By a unit or a static pod. */
  'after-stop',
  'after-move-data',
  'after-add',
  /** initial-cluster-state is existing, and etcd is not started. */
  'after-edit',
  'after-start',
  'after-promote',
] as const;

export type CrashPoint =
  | (typeof CRASH_POINTS)[number]
  | (typeof MAINTENANCE_CRASH_POINTS)[number]
  | (typeof RESTORE_CRASH_POINTS)[number]
  | (typeof REPLACE_CRASH_POINTS)[number];

/** Nothing, unless a test asked for a crash here: the environment must hold both names, so that none of them alone can do harm. */
export function crashPoint(name: CrashPoint): void {
  if (process.env['ETCD_WARDEN_CRASH_AT'] === name && process.env['ETCD_WARDEN_TEST'] === '1') {
    process.kill(process.pid, 'SIGKILL');
  }
}
