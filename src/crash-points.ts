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

export type CrashPoint = (typeof CRASH_POINTS)[number];

/** Nothing, unless a test asked for a crash here: the environment must hold both names, so that none of them alone can do harm. */
export function crashPoint(name: CrashPoint): void {
  if (process.env['ETCD_WARDEN_CRASH_AT'] === name && process.env['ETCD_WARDEN_TEST'] === '1') {
    process.kill(process.pid, 'SIGKILL');
  }
}
