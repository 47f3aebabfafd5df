/**
 * The one table of error codes: what each means and which exit code a verb that ends with it returns.
 * Codes are stable: scripts, alerts and the documentation match on them.
 */
export const ERRORS = {
  failed: { exit: 1, meaning: 'something failed that has no better name; the cause is in the sentence' },
  usage: { exit: 2, meaning: 'the command line is wrong' },
  'config-invalid': { exit: 2, meaning: 'the configuration has errors; all of them are listed' },
  partial: { exit: 3, meaning: 'the backup is complete on some of the intended stores, not on all' },
  'nothing-found': { exit: 10, meaning: 'no backup answers the description' },
  locked: { exit: 11, meaning: 'another process holds the lock of this cluster' },
  'key-missing': { exit: 12, meaning: 'an encrypted object cannot be read: identity missing or wrong' },
  'verification-failed': { exit: 13, meaning: 'what is stored is not what was written' },
  refused: { exit: 14, meaning: 'unsafe: refused' },
  interrupted: { exit: 130, meaning: 'stopped by a signal or by the caller' },
  timeout: { exit: 1, meaning: 'a deadline passed, or a stream made no progress' },
  unreachable: { exit: 1, meaning: 'an endpoint of etcd does not answer' },
  'tls-failed': { exit: 1, meaning: 'the TLS handshake with etcd failed, or its files cannot be used' },
  'login-failed': { exit: 1, meaning: 'etcd refuses the user, the password or the token' },
  'login-needs-quorum': { exit: 1, meaning: 'etcd can check a password only while a majority of its members is up' },
  'permission-denied': { exit: 1, meaning: 'the user of etcd lacks the role that a call needs' },
  'no-quorum': { exit: 1, meaning: 'the cluster has no leader, or cannot agree in time' },
  'no-space': { exit: 1, meaning: 'the NOSPACE alarm of etcd is armed: it accepts no writes' },
  learner: { exit: 1, meaning: 'a learner was asked for what only voters tell' },
  'peers-not-connected': {
    exit: 14,
    meaning: 'etcd changes no membership before its members were connected to each other for five seconds',
  },
  'too-few-started': { exit: 14, meaning: 'etcd changes no membership while too few of its members were ever started' },
  'too-many-learners': { exit: 14, meaning: 'the cluster has as many learners as it allows' },
  'learner-behind': { exit: 1, meaning: 'a learner has not caught up far enough to vote' },
  'not-learner': { exit: 14, meaning: 'a voter was to be promoted' },
  'member-exists': { exit: 14, meaning: 'another member of the cluster has that peer URL, name or id' },
  'member-missing': { exit: 10, meaning: 'the cluster has no such member' },
  'outcome-unknown': { exit: 1, meaning: 'a change was asked for and its answer was lost: it may have happened' },
  'etcd-failed': { exit: 1, meaning: 'etcd answered with an error that has no better name' },
  'cluster-ids-disagree': {
    exit: 14,
    meaning: 'the endpoints belong to different clusters and none of these has a majority, or most of them to another one than before',
  },
  'snapshot-cut': { exit: 1, meaning: 'the snapshot stream broke off before its end' },
  'snapshot-stalled': { exit: 1, meaning: 'the snapshot stream stayed open but brought no more bytes' },
  'snapshot-incomplete': { exit: 1, meaning: 'the snapshot stream ended before the last byte' },
  'snapshot-missing-hash': { exit: 1, meaning: 'the snapshot stream ended without the 32 bytes of SHA-256 that close it' },
  'snapshot-hash-mismatch': { exit: 1, meaning: 'the SHA-256 of the streamed bytes is not the one that the member sent' },
  'snapshot-wrong-length': { exit: 1, meaning: 'the length of the snapshot is impossible, or not the one that the member announced' },
  'disk-full': { exit: 1, meaning: 'no space, or no quota, left on a local disk' },
  'disk-failed': { exit: 1, meaning: 'a local file could not be opened, written, read or synced' },
  surprise: { exit: 1, meaning: 'a step of maintenance did not come out as it should; the round stopped there and tries nothing else' },
  'changed-meanwhile': { exit: 1, meaning: 'an object or file was changed while it was read' },
  unproved: { exit: 1, meaning: 'no hash of a member is recorded for the backup, so nothing can be proved again' },
  'not-seekable': { exit: 13, meaning: 'compressed, but without a seek table that can be read: no part of it can be opened alone' },
  'not-bolt': { exit: 13, meaning: 'not a bbolt database: no valid meta page' },
  'not-etcd': { exit: 13, meaning: 'a bbolt database, but not one that etcd could have written' },
  'history-broken': { exit: 13, meaning: 'the changes of a database contradict each other: one is missing, or is not what it was' },
  'newer-schema': {
    exit: 14,
    meaning: 'a database of an etcd, or a record of an etcd-warden, that is newer than those this version knows',
  },
  'revision-compacted': { exit: 10, meaning: 'a revision is asked for whose history was compacted away, in a backup or in the cluster' },
  'revision-future': {
    exit: 10,
    meaning: 'a revision is asked for that lies behind the last one of a database, or that a member has not applied yet',
  },
  'bolt-damaged': { exit: 13, meaning: 'a page of the database contradicts itself or its place' },
  'index-invalid': {
    exit: 13,
    meaning:
      'the key index beside a backup is damaged, cut short, of another backup or of a newer version; that says nothing of the backup',
  },
  'manifest-invalid': {
    exit: 13,
    meaning: 'a manifest, check, acceptance or restore record is not one that this version or an earlier one writes',
  },
  'manifest-too-long': { exit: 1, meaning: 'a manifest or restore record would exceed the 8 KiB that readers allow' },
  ambiguous: { exit: 2, meaning: 'several backups answer the description; the hint names them' },
  'object-exists': { exit: 1, meaning: 'a store already holds an object under that key; nothing is ever overwritten' },
  'object-missing': { exit: 1, meaning: 'a store holds no object under that key' },
  'store-unavailable': { exit: 1, meaning: 'a store cannot be reached, or its folder or bucket is not there' },
  'store-denied': { exit: 1, meaning: 'a store refuses the credentials, or the right that a call needs' },
  'store-misbehaves': { exit: 1, meaning: 'a store answers with what no correct store can answer' },
  'job-crashed': { exit: 1, meaning: 'the process of a job ended without a result; the signal or exit code is in the sentence' },
  'job-stalled': { exit: 1, meaning: 'a job gave no sign of progress for too long and was ended' },
  'address-unusable': { exit: 1, meaning: 'an address to listen on is taken, not on this machine, or not allowed' },
} as const satisfies Record<string, { exit: number; meaning: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** Every error that a user can meet: a stable code, one sentence in lower case with the values that matter, and a hint. */
export class WardenError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, sentence: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(sentence, { cause: options.cause });
    this.name = 'WardenError';
    this.code = code;
    this.hint = options.hint;
  }

  /** The exit code of a verb that ends with this error. */
  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}

/** Whatever was thrown, as an error whose message can be shown. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** An error as part of a result: what programs and people need of it. */
export interface ErrorDetails {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
}

export function errorDetails(thrown: unknown): ErrorDetails {
  const error = asError(thrown);
  if (!(error instanceof WardenError)) return { code: 'failed', message: error.message };
  return { code: error.code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) };
}
