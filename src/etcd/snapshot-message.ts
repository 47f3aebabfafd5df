/**
 * One message of the snapshot stream, read by hand: a 2 GiB database is 65 536 of them, and the generic decoder costs more than all the rest.
 *
 * SnapshotResponse (etcd api/etcdserverpb/rpc.proto): 1 header (never sent here), 2 remaining_bytes uint64, 3 blob bytes,
 * 4 version string (3.6+). Any order, unknown fields skipped, the last occurrence of a field counts.
 */
import type { SnapshotMessage } from './types.ts';

const EMPTY = Buffer.alloc(0);

/** Where the reader stands; one at a time is alive, so that no message costs an object for it. */
let at = 0;

/** @throws Error when the bytes are no protobuf message: gRPC then ends the stream. */
export function readSnapshotMessage(bytes: Buffer): SnapshotMessage {
  let blob: Buffer = EMPTY;
  let remaining = 0;
  let version: string | undefined;
  at = 0;
  while (at < bytes.length) {
    const tag = readVarint(bytes);
    const field = Math.floor(tag / 8);
    const type = tag % 8;
    if (field === 3 && type === 2) {
      blob = readBytes(bytes);
    } else if (field === 2 && type === 0) {
      remaining = readVarint(bytes);
    } else if (field === 4 && type === 2) {
      version = readBytes(bytes).toString('utf8') || undefined;
    } else {
      skip(bytes, type);
    }
  }
  return { blob, remaining, version };
}

/** Exact to 2^53, which no database reaches; the additions keep it from wrapping at 2^32. */
function readVarint(bytes: Buffer): number {
  let value = 0;
  let scale = 1;
  for (let read = 0; read < 10; read++) {
    const byte = bytes[at++];
    if (byte === undefined) throw new Error('snapshot message ends inside a number');
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 128;
  }
  throw new Error('snapshot message holds a number of more than 10 bytes');
}

function readBytes(bytes: Buffer): Buffer {
  const length = readVarint(bytes);
  const end = at + length;
  if (end > bytes.length) throw new Error(`snapshot message ends inside a field of ${length} bytes`);
  const view = bytes.subarray(at, end);
  at = end;
  return view;
}

function skip(bytes: Buffer, type: number): void {
  if (type === 0) readVarint(bytes);
  else if (type === 1) at += 8;
  else if (type === 2) readBytes(bytes);
  else if (type === 5) at += 4;
  else throw new Error(`snapshot message holds wire type ${type}`);
  if (at > bytes.length) throw new Error('snapshot message ends inside a field');
}
