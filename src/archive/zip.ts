/**
 * The one file of a zip archive, as RKE2 and k3s write it with `--etcd-snapshot-compress` (Go's archive/zip: deflate, sizes behind the data, zip64
 * above 4 GiB). Found by the central directory at the end, as every unzip does; where it and the archive disagree, nothing is taken.
 *
 * Format: PKWARE APPNOTE 6.3, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 and 4.3.15 (zip64), 4.3.16 (end).
 */
import { createReadStream } from 'node:fs';
import { crc32, createInflateRaw } from 'node:zlib';
import { asError, WardenError } from '../errors.ts';
import { openFile, type OpenFile } from './file-access.ts';

const LOCAL_MAGIC = 0x04034b50;
const CENTRAL_MAGIC = 0x02014b50;
const END_MAGIC = 0x06054b50;
const END64_MAGIC = 0x06064b50;
const LOCATOR64_MAGIC = 0x07064b50;
const END_LENGTH = 22;
const LOCATOR64_LENGTH = 20;
/** The end record carries a comment of up to 65 535 bytes. */
const END_SEARCH = END_LENGTH + 0xffff;
/** One file has one entry; a name of a page and generous extra fields fit. */
const MAX_DIRECTORY = 2 ** 20;
/** etcd's largest supported database is 8 GiB. What claims more than this is no snapshot. */
const MAX_PLAIN = 64 * 2 ** 30;
const STORED = 0;
const DEFLATED = 8;
const SENTINEL = 0xffffffff;

export interface ZipEntry {
  readonly name: string;
  readonly method: number;
  readonly crc32: number;
  readonly storedBytes: number;
  readonly plainBytes: number;
  readonly dataOffset: number;
}

/** True when the file begins as a zip archive does. */
export function isZip(start: Buffer): boolean {
  return start.length >= 4 && start.readUInt32LE(0) === LOCAL_MAGIC;
}

/** The only file in the archive. @throws WardenError `verification-failed` when it is damaged, `usage` when it is not an archive of one snapshot */
export async function readZip(path: string): Promise<ZipEntry> {
  const file = await openFile(path);
  try {
    return await onlyEntry(file, path);
  } finally {
    await file.close();
  }
}

/** Its plain bytes in order. @throws WardenError `verification-failed` when they are not as long, or not those, that the archive says */
export async function* unzip(path: string, entry: ZipEntry, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  if (entry.storedBytes === 0) throw damaged(path, 'its file is empty');
  const source = createReadStream(path, {
    start: entry.dataOffset,
    end: entry.dataOffset + entry.storedBytes - 1,
    highWaterMark: 2 ** 18,
    signal,
  });
  const plain = entry.method === STORED ? source : source.pipe(createInflateRaw({ chunkSize: 2 ** 18 }));
  // pipe() does not carry errors on.
  source.on('error', (error) => plain.destroy(error));
  let sum = 0;
  let length = 0;
  try {
    for await (const chunk of plain as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > entry.plainBytes) throw damaged(path, `${entry.name} is longer than the ${entry.plainBytes} bytes that it declares`);
      sum = crc32(chunk, sum);
      yield chunk;
    }
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof WardenError) throw thrown;
    throw damaged(path, asError(thrown).message, thrown);
  } finally {
    source.destroy();
    plain.destroy();
  }
  if (length !== entry.plainBytes) throw damaged(path, `${entry.name} has ${length} bytes, the archive says ${entry.plainBytes}`);
  if (sum !== entry.crc32) throw damaged(path, `the CRC32 of ${entry.name} is wrong`);
}

async function onlyEntry(file: OpenFile, path: string): Promise<ZipEntry> {
  const { offset, length, entries } = await directoryOf(file, path);
  if (length > MAX_DIRECTORY || offset + length > file.size) throw damaged(path, 'its directory lies outside of it');
  const directory = await file.read(offset, length);
  const files: ZipEntry[] = [];
  let at = 0;
  for (let index = 0; index < entries; index += 1) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== CENTRAL_MAGIC) throw damaged(path, 'its directory is damaged');
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => directory.readUInt16LE(at + field)) as [
      number,
      number,
      number,
    ];
    const end = at + 46 + nameLength + extraLength + commentLength;
    if (end > directory.length) throw damaged(path, 'its directory is damaged');
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
    if (!name.endsWith('/')) files.push(await entryAt(file, path, directory.subarray(at, end), name));
    if (files.length > 1) break;
    at = end;
  }
  const [only, ...others] = files;
  if (only === undefined || others.length > 0)
    throw new WardenError('usage', `${path} does not hold exactly one file`, { hint: 'unzip it and name the snapshot that was in it' });
  return only;
}

async function directoryOf(file: OpenFile, path: string): Promise<{ offset: number; length: number; entries: number }> {
  const from = Math.max(0, file.size - END_SEARCH);
  const tail = await file.read(from, file.size - from);
  let at = tail.length - END_LENGTH;
  while (at >= 0 && !(tail.readUInt32LE(at) === END_MAGIC && at + END_LENGTH + tail.readUInt16LE(at + 20) === tail.length)) at -= 1;
  if (at < 0) throw damaged(path, 'it has no end record: it was probably cut');
  const small = { entries: tail.readUInt16LE(at + 10), length: tail.readUInt32LE(at + 12), offset: tail.readUInt32LE(at + 16) };
  if (small.entries !== 0xffff && small.length !== SENTINEL && small.offset !== SENTINEL) return small;
  const locator = at - LOCATOR64_LENGTH;
  if (locator < 0 || tail.readUInt32LE(locator) !== LOCATOR64_MAGIC) throw damaged(path, 'its zip64 record is missing');
  const place = Number(tail.readBigUInt64LE(locator + 8));
  if (place + 56 > file.size) throw damaged(path, 'its zip64 record lies outside of it');
  const record = await file.read(place, 56);
  if (record.readUInt32LE(0) !== END64_MAGIC) throw damaged(path, 'its zip64 record is damaged');
  return {
    entries: Number(record.readBigUInt64LE(32)),
    length: Number(record.readBigUInt64LE(40)),
    offset: Number(record.readBigUInt64LE(48)),
  };
}

async function entryAt(file: OpenFile, path: string, central: Buffer, name: string): Promise<ZipEntry> {
  const method = central.readUInt16LE(10);
  if (central.readUInt16LE(8) & 1)
    throw new WardenError('usage', `${name} in ${path} is encrypted`, { hint: 'unzip it with its password first' });
  if (method !== STORED && method !== DEFLATED)
    throw new WardenError('usage', `${name} in ${path} is compressed by method ${method}, which is not deflate`, {
      hint: 'unzip it first',
    });
  const { plainBytes, storedBytes, localOffset } = sizesOf(central, path);
  if (plainBytes > MAX_PLAIN) throw damaged(path, `${name} claims ${plainBytes} bytes`);
  if (localOffset + 30 > file.size) throw damaged(path, `${name} lies outside of it`);
  const local = await file.read(localOffset, 30);
  if (!isZip(local)) throw damaged(path, `${name} does not begin where the directory says`);
  const dataOffset = localOffset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (dataOffset + storedBytes > file.size) throw damaged(path, `${name} ends outside of it`);
  return { name, method, crc32: central.readUInt32LE(16), storedBytes, plainBytes, dataOffset };
}

/** Sizes of 32 bits, or in the zip64 extra field (id 1) those that do not fit, in this order. */
function sizesOf(central: Buffer, path: string): { plainBytes: number; storedBytes: number; localOffset: number } {
  const small = [central.readUInt32LE(24), central.readUInt32LE(20), central.readUInt32LE(42)];
  const large: bigint[] = [];
  const nameLength = central.readUInt16LE(28);
  const extra = central.subarray(46 + nameLength, 46 + nameLength + central.readUInt16LE(30));
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    const end = Math.min(extra.length, at + 4 + extra.readUInt16LE(at + 2));
    for (let field = at + 4; field + 8 <= end; field += 8) large.push(extra.readBigUInt64LE(field));
  }
  const [plainBytes, storedBytes, localOffset] = small.map((value) => {
    if (value !== SENTINEL) return value;
    const wide = Number(large.shift() ?? -1n);
    if (!Number.isSafeInteger(wide) || wide < 0) throw damaged(path, 'a size in its directory is missing');
    return wide;
  }) as [number, number, number];
  return { plainBytes, storedBytes, localOffset };
}

function damaged(path: string, why: string, cause?: unknown): WardenError {
  return new WardenError('verification-failed', `the zip archive ${path} is damaged: ${why}`, {
    hint: 'look for another copy of it',
    cause,
  });
}
