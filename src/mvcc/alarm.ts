/** A key of etcd's bucket `alarm`: etcdserverpb.AlarmMember { 1 memberID uint64, 2 alarm enum }, the value is empty. */
export interface StoredAlarm {
  readonly memberId: bigint;
  readonly type: 'NOSPACE' | 'CORRUPT' | 'unknown';
}

const TYPES: Readonly<Record<string, StoredAlarm['type']>> = { 1: 'NOSPACE', 2: 'CORRUPT' };

/** Undefined when the bytes are no such message; fields that we do not know are none that etcd writes. */
export function parseAlarm(bytes: Buffer): StoredAlarm | undefined {
  let memberId = 0n;
  let type = 0n;
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at]!;
    const number = uvarint(bytes, at + 1);
    if (number === undefined) return undefined;
    if (tag === 0x08) memberId = number.value;
    else if (tag === 0x10) type = number.value;
    else return undefined;
    at = number.next;
  }
  return { memberId, type: TYPES[type.toString()] ?? 'unknown' };
}

/** A protobuf varint of at most 64 bits. */
function uvarint(bytes: Buffer, start: number): { readonly value: bigint; readonly next: number } | undefined {
  let value = 0n;
  for (let at = start, shift = 0n; at < bytes.length && shift < 70n; at += 1, shift += 7n) {
    const byte = bytes[at]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return value < 2n ** 64n ? { value, next: at + 1 } : undefined;
  }
  return undefined;
}
