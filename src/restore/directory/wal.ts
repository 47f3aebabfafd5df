/**
 * The write-ahead log of a member that was just restored: the cluster's members as raft entries, and a snapshot record behind them. The record at index n is what
 * makes etcd send a member that is added later the whole database: a log that began at index 1 would let it start without what was restored.
 *
 * Sources: etcd server/storage/wal (wal.go Create, encoder.go), etcdutl/snapshot/v3_snapshot.go saveWALAndSnap, raft raftpb, the same from 3.4 to 3.7 but for what
 * FORMS says.
 */
import { updateCrc32c } from '../../mvcc/crc32c/crc32c.ts';
import type { EtcdMinor, NewCluster, NewMember } from '../types.ts';
import { memberJson } from './member-json.ts';
import { bytesField, numberField } from './wire.ts';

/** etcd's SegmentSizeBytes: the length of every WAL file, zeros behind the last record. */
export const WAL_FILE_BYTES = 64_000_000;

/** Sequence number and index of the first entry, both 0, in hex. */
export const WAL_FILE_NAME = `${'0'.repeat(16)}-${'0'.repeat(16)}.wal`;

/** What the releases write differently. Each reads the other forms as well. */
interface Form {
  /** ConfState in the snapshot record: there since 3.5. */
  readonly confStateInWal: boolean;
  /** ConfChange.ID = 0 and ConfState.auto_leave = false: 3.7 has another protobuf library, which leaves fields out that nobody set. */
  readonly unsetFields: boolean;
}

const FORMS: Readonly<Record<EtcdMinor, Form>> = {
  '3.4': { confStateInWal: false, unsetFields: true },
  '3.5': { confStateInWal: true, unsetFields: true },
  '3.6': { confStateInWal: true, unsetFields: true },
  '3.7': { confStateInWal: true, unsetFields: false },
};

// Types of records (walpb).
const METADATA = 1;
const ENTRY = 2;
const HARD_STATE = 3;
const CRC = 4;
const SNAPSHOT = 5;

const CONF_CHANGE_ENTRY = 1;
const ADD_NODE = 0;
/** The term of everything that a restore writes. */
const TERM = 1;

/** The records of the only WAL file, without the zeros behind them. */
export function encodeWal(member: NewMember, cluster: NewCluster, minor: EtcdMinor): Buffer {
  const { confStateInWal, unsetFields } = FORMS[minor];
  const { members } = cluster;
  const frames: Buffer[] = [];
  let crc = 0;
  function append(type: number, data?: Buffer): void {
    // Each record's CRC is that of the data of all records so far.
    if (data !== undefined) crc = updateCrc32c(crc, data);
    frames.push(frame(Buffer.concat([numberField(1, type), numberField(2, crc), ...(data === undefined ? [] : [bytesField(3, data)])])));
  }

  append(CRC);
  append(METADATA, Buffer.concat([numberField(1, member.id), numberField(2, cluster.clusterId)]));
  append(SNAPSHOT, Buffer.concat([numberField(1, 0), numberField(2, 0)]));
  members.forEach((each, index) => {
    const change = Buffer.concat([
      ...(unsetFields ? [numberField(1, 0)] : []),
      numberField(2, ADD_NODE),
      numberField(3, each.id),
      bytesField(4, memberJson(each)),
    ]);
    append(
      ENTRY,
      Buffer.concat([numberField(1, CONF_CHANGE_ENTRY), numberField(2, TERM), numberField(3, index + 1), bytesField(4, change)]),
    );
  });
  append(HARD_STATE, Buffer.concat([numberField(1, TERM), numberField(2, members[0]?.id ?? 0n), numberField(3, members.length)]));
  append(
    SNAPSHOT,
    Buffer.concat([
      numberField(1, members.length),
      numberField(2, TERM),
      ...(confStateInWal ? [bytesField(3, encodeConfState(cluster, minor))] : []),
    ]),
  );
  return Buffer.concat(frames);
}

/** raftpb.ConfState: all are voters. */
export function encodeConfState({ members }: NewCluster, minor: EtcdMinor): Buffer {
  return Buffer.concat([...members.map(({ id }) => numberField(1, id)), ...(FORMS[minor].unsetFields ? [numberField(5, 0)] : [])]);
}

/** A length of 8 bytes, little-endian, and the record, filled up to a multiple of 8: then the top byte is 0x80 and how many bytes were added. */
function frame(record: Buffer): Buffer {
  const padding = (8 - (record.length % 8)) % 8;
  const bytes = Buffer.alloc(8 + record.length + padding);
  bytes.writeBigUInt64LE(BigInt(record.length) | (padding === 0 ? 0n : BigInt(0x80 | padding) << 56n));
  record.copy(bytes, 8);
  return bytes;
}
