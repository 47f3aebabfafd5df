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

export function encodeRevision(revision: Revision): Buffer {
  const key = Buffer.alloc(REVISION_LENGTH + (revision.tombstone ? 1 : 0), TOMBSTONE);
  key.writeBigInt64BE(revision.main, 0);
  key.writeUInt8(SEPARATOR, 8);
  key.writeBigInt64BE(revision.sub, 9);
  return key;
}
