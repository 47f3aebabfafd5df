/** Files that are mistaken for snapshots, told by their first bytes: an error that names what it is saves the search. */

export interface ForeignKind {
  /** `a gzip file` */
  readonly what: string;
  readonly hint: string;
}

const UNPACK = 'unpack it first';

/** First bytes, as latin1. zstd and age are not here: those we read. */
const MAGICS: readonly (readonly [magic: string, what: string, hint: string])[] = [
  ['\x1f\x8b', 'a gzip file', 'decompress it first: gzip -d'],
  ['\xfd7zXZ\0', 'an xz file', 'decompress it first: xz -d'],
  ['BZh', 'a bzip2 file', 'decompress it first: bzip2 -d'],
  ['\x04\x22\x4d\x18', 'an lz4 file', 'decompress it first: lz4 -d'],
  ['PK\x03\x04', 'a zip file', 'unzip it first; RKE2 and k3s write such files with --etcd-snapshot-compress'],
  ['-----BEGIN AGE', 'an age file in armour', 'turn it into a binary one first: age -d, then age -e without -a'],
  ['SQLite format 3\0', 'an SQLite database', 'k3s with kine keeps its state in one, which is no etcd'],
];

/** Undefined when the bytes may be a snapshot. @param name the path: logs and snapshots of etcd's raft have telling names */
export function foreignKind(name: string, start: Buffer): ForeignKind | undefined {
  if (start.length === 0) return { what: 'empty', hint: 'the program that was to write it has probably failed: look for its error' };
  if (isBolt(start)) return undefined; // whatever it is called
  const text = start.toString('latin1');
  const known = MAGICS.find(([magic]) => text.startsWith(magic));
  if (known !== undefined) return { what: known[1], hint: known[2] };
  if (text.startsWith('ustar', 257)) return { what: 'a tar archive', hint: UNPACK };
  if (isWriteAheadLog(name, start)) return { what: 'a write-ahead log of etcd', hint: DATABASE };
  if (isRaftSnapshot(name, start)) return { what: 'a raft snapshot, which is where etcd 2 kept its keys', hint: ETCD2 };
  if (/^\s*[{[]/u.test(text)) return { what: 'a JSON document', hint: `${DATABASE}; ${ETCD2}` };
  return undefined;
}

/** The magic of the first meta page, in either byte order; a file whose first one is damaged may still have the second. */
function isBolt(start: Buffer): boolean {
  return start.length >= 20 && (start.readUInt32LE(16) === 0xed0cdaed || start.readUInt32BE(16) === 0xed0cdaed);
}

const DATABASE = 'the database is the file member/snap/db of the data directory, or what `etcdctl snapshot save` wrote';
const ETCD2 = 'a backup of etcd 2 (`etcdctl backup`, v2 API) holds no etcd 3 keys and cannot be read here';

/** The first record of a log is `crcType`: 8 bytes of length, then walpb.Record { 1 type = 4, 2 crc } (server/storage/wal). */
function isWriteAheadLog(name: string, start: Buffer): boolean {
  return (
    name.endsWith('.wal') ||
    (start.length > 11 && start[8] === 0x08 && start[9] === 0x04 && start[10] === 0x10 && start.readUInt32LE(4) % 2 ** 24 === 0)
  );
}

/** snappb.Snapshot { 1 crc u32, 2 data }, whose data is a raftpb.Snapshot { 1 data } with the JSON of the v2 store (etcdserver/api/snap). */
function isRaftSnapshot(name: string, start: Buffer): boolean {
  return name.endsWith('.snap') || (start[0] === 0x08 && start.includes('{"Root":{"Path":"/"', 0, 'latin1'));
}
