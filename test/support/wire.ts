/**
 * Just enough protobuf for the tests to speak with etcd without the code under test: fields by number, as in etcd's rpc.proto and kv.proto.
 * https://protobuf.dev/programming-guides/encoding/
 */
export type Field = readonly [number: number, value: number | bigint | boolean | string | Buffer];
/** Every value of every field: varints as bigint (two's complement not undone), the rest as bytes. */
export type Message = ReadonlyMap<number, readonly (bigint | Buffer)[]>;

const VARINT = 0;
const BYTES = 2;

/** Default values are written too, except that an empty message is empty. */
export function encode(...fields: readonly Field[]): Buffer {
  const parts: Buffer[] = [];
  for (const [number, value] of fields) {
    if (typeof value === 'string' || Buffer.isBuffer(value)) {
      const bytes = typeof value === 'string' ? Buffer.from(value) : value;
      parts.push(varint(BigInt(number << 3) | BigInt(BYTES)), varint(BigInt(bytes.length)), bytes);
    } else {
      parts.push(varint(BigInt(number << 3) | BigInt(VARINT)), varint(BigInt.asUintN(64, BigInt(value))));
    }
  }
  return Buffer.concat(parts);
}

export function decode(bytes: Buffer): Message {
  const message = new Map<number, (bigint | Buffer)[]>();
  let at = 0;
  function next(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('the message ends inside a varint');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
  while (at < bytes.length) {
    const tag = Number(next());
    const wire = tag & 7;
    let value: bigint | Buffer;
    if (wire === VARINT) {
      value = next();
    } else if (wire === BYTES) {
      const length = Number(next());
      value = bytes.subarray(at, (at += length));
    } else {
      throw new Error(`wire type ${wire} is not used by etcd's messages`);
    }
    const values = message.get(tag >>> 3);
    if (values === undefined) message.set(tag >>> 3, [value]);
    else values.push(value);
  }
  return message;
}

export function integer(message: Message, field: number): bigint {
  const value = message.get(field)?.[0];
  return typeof value === 'bigint' ? value : 0n;
}

export function bytes(message: Message, field: number): Buffer {
  const value = message.get(field)?.[0];
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0);
}

export function text(message: Message, field: number): string {
  return bytes(message, field).toString();
}

export function messages(message: Message, field: number): Message[] {
  return (message.get(field) ?? []).filter((value) => Buffer.isBuffer(value)).map((value) => decode(value));
}

function varint(value: bigint): Buffer {
  // Nearly all are small: tags, lengths of keys.
  if (value < 0x80n) return Buffer.of(Number(value));
  const out: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out.push(Number(rest));
  return Buffer.from(out);
}
