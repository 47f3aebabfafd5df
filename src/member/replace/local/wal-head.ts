/**
 * Whose data a directory holds: the metadata record at the beginning of each file of etcd's write-ahead log names the member and its cluster. The same in 3.4 to
 * 3.7 (server/storage/wal: frames of an 8-byte length, whose upper byte tells the padding, and a protobuf record of type 1, CRC 2, data 3).
 */
import type { Identity } from '../types.ts';

const METADATA = 1n;
/** The CRC record and the metadata are some 60 bytes together. */
export const WAL_HEAD_BYTES = 4096;

/** @param head the first bytes of a file `*.wal`; at least {@link WAL_HEAD_BYTES} where it has them. Never throws. */
export function identityIn(head: Buffer): Identity {
  let at = 0;
  while (at + 8 <= head.length) {
    const length = frameLength(head.readBigUInt64LE(at));
    if (length === undefined || length.bytes === 0) return unknown('no metadata is in its first records');
    const end = at + 8 + length.bytes;
    if (end > head.length) return unknown('its first records are cut off');
    const record = fields(head.subarray(at + 8, end));
    if (record === undefined) return unknown('its first records cannot be read');
    if (record.get(1) === METADATA) {
      const data = record.get(3);
      const metadata = data instanceof Buffer ? fields(data) : undefined;
      const [memberId, clusterId] = [metadata?.get(1), metadata?.get(2)];
      if (typeof memberId !== 'bigint' || typeof clusterId !== 'bigint') return unknown('its metadata cannot be read');
      return { kind: 'known', memberId, clusterId };
    }
    at = end + length.padding;
  }
  return unknown('no metadata is in its first records');
}

function unknown(reason: string): Identity {
  return { kind: 'unknown', reason };
}

/** The upper byte is 0x80 and the padding when there is any. */
function frameLength(field: bigint): { readonly bytes: number; readonly padding: number } | undefined {
  const bytes = field & 0x00ff_ffff_ffff_ffffn;
  if (bytes > BigInt(WAL_HEAD_BYTES)) return undefined;
  const upper = Number(field >> 56n);
  return { bytes: Number(bytes), padding: (upper & 0x80) === 0 ? 0 : upper & 0x7 };
}

/** The fields of a message by number, varints and bytes alone; undefined when it is none. */
function fields(message: Buffer): ReadonlyMap<number, bigint | Buffer> | undefined {
  const found = new Map<number, bigint | Buffer>();
  let at = 0;
  function varint(): bigint | undefined {
    let value = 0n;
    for (let shift = 0n; shift < 70n && at < message.length; shift += 7n) {
      const byte = message[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    return undefined;
  }
  while (at < message.length) {
    const tag = varint();
    const value = tag === undefined ? undefined : varint();
    if (tag === undefined || value === undefined) return undefined;
    const [number, wire] = [Number(tag >> 3n), tag & 7n];
    if (wire === 0n) found.set(number, value);
    else if (wire === 2n && value <= BigInt(message.length - at)) {
      found.set(number, message.subarray(at, at + Number(value)));
      at += Number(value);
    } else return undefined;
  }
  return found;
}
