/**
 * Keys of etcd's bucket `key`: a revision, big-endian, so that the order of keys is the order of changes.
 * main i64, `_`, sub i64, and `t` behind it when the change deleted the key (server/storage/mvcc/revision.go, kvstore.go).
 */
export interface Revision {
  /** Store revision of the transaction. */
  readonly main: bigint;
  /** Position of the change inside its transaction. */
  readonly sub: bigint;
  readonly tombstone: boolean;
}

const REVISION_LENGTH = 17;
const SEPARATOR = 0x5f;
const TOMBSTONE = 0x74;

/** Undefined when the bytes are no revision. */
export function parseRevision(key: Buffer): Revision | undefined {
  const tombstone = key.length === REVISION_LENGTH + 1 && key[REVISION_LENGTH] === TOMBSTONE;
  if ((key.length !== REVISION_LENGTH && !tombstone) || key[8] !== SEPARATOR) return undefined;
  const main = key.readBigInt64BE(0);
  const sub = key.readBigInt64BE(9);
  return main < 0n || sub < 0n ? undefined : { main, sub, tombstone };
}

/** Whether the bytes are a revision; makes nothing, for passes over all records. */
export function isRevision(key: Buffer): boolean {
  const { length } = key;
  if (length !== REVISION_LENGTH && (length !== REVISION_LENGTH + 1 || key[REVISION_LENGTH] !== TOMBSTONE)) return false;
  return key[8] === SEPARATOR && key[0]! < 0x80 && key[9]! < 0x80;
}

/** The main revision of a record's key. */
export function mainOf(key: Buffer): bigint {
  return key.readBigInt64BE(0);
}

/** The position of a record's change inside its transaction. */
export function subOf(key: Buffer): bigint {
  return key.readBigInt64BE(9);
}

/** Whether a record's key says that the change deleted. */
export function isTombstone(key: Buffer): boolean {
  return key.length > REVISION_LENGTH;
}

export function encodeRevision(revision: Revision): Buffer {
  const key = Buffer.alloc(REVISION_LENGTH + (revision.tombstone ? 1 : 0), TOMBSTONE);
  key.writeBigInt64BE(revision.main, 0);
  key.writeUInt8(SEPARATOR, 8);
  key.writeBigInt64BE(revision.sub, 9);
  return key;
}
