/** Zip archives byte by byte, as Go's archive/zip writes them: sizes behind the data, zip64 where they do not fit. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipContent {
  readonly name: string;
  readonly plain: Buffer;
}

export interface ZipOptions {
  readonly method?: 0 | 8 | 93;
  /** Writes every size as if it needed 64 bits. */
  readonly zip64?: boolean;
  /** General purpose bits; 8 = sizes behind the data, 1 = encrypted. */
  readonly flags?: number;
  readonly comment?: string;
  /** What the directory says instead of the truth. */
  readonly lie?: { readonly plainBytes?: number; readonly crc32?: number };
}

export function zipFile(
  contents: readonly ZipContent[],
  { method = 8, zip64 = false, flags = 8, comment = '', lie = {} }: ZipOptions = {},
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  const add = (...more: Buffer[]): void => {
    for (const part of more) {
      parts.push(part);
      at += part.length;
    }
  };
  for (const { name, plain } of contents) {
    const stored = method === 8 ? deflateRawSync(plain) : plain;
    const sum = lie.crc32 ?? crc32(plain);
    const plainBytes = lie.plainBytes ?? plain.length;
    const offset = at;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(flags, 6);
    local.writeUInt16LE(method, 8);
    local.writeUInt16LE(Buffer.byteLength(name), 26);
    add(local, Buffer.from(name), stored, behind(sum, stored.length, plainBytes, zip64));
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(flags, 8);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(sum, 16);
    central.writeUInt32LE(zip64 ? 0xffffffff : stored.length, 20);
    central.writeUInt32LE(zip64 ? 0xffffffff : plainBytes, 24);
    central.writeUInt16LE(Buffer.byteLength(name), 28);
    central.writeUInt16LE(zip64 ? 28 : 0, 30);
    central.writeUInt32LE(zip64 ? 0xffffffff : offset, 42);
    const extra = zip64 ? Buffer.concat([u16(1), u16(24), u64(plainBytes), u64(stored.length), u64(offset)]) : Buffer.alloc(0);
    directory.push(central, Buffer.from(name), extra);
  }
  const place = at;
  add(...directory);
  const length = at - place;
  if (zip64) {
    const record = Buffer.alloc(56);
    record.writeUInt32LE(0x06064b50, 0);
    record.writeBigUInt64LE(BigInt(contents.length), 32);
    record.writeBigUInt64LE(BigInt(length), 40);
    record.writeBigUInt64LE(BigInt(place), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(BigInt(at), 8);
    add(record, locator);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(zip64 ? 0xffff : contents.length, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : length, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : place, 16);
  end.writeUInt16LE(comment.length, 20);
  add(end, Buffer.from(comment));
  return Buffer.concat(parts);
}

function behind(sum: number, storedBytes: number, plainBytes: number, zip64: boolean): Buffer {
  const sizes = zip64 ? [u64(storedBytes), u64(plainBytes)] : [u32(storedBytes), u32(plainBytes)];
  return Buffer.concat([u32(0x08074b50), u32(sum), ...sizes]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
