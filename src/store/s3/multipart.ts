/**
 * Large objects: parts go up while the spool still grows. Memory is a fixed set of part buffers, allocated once, whatever the size of the
 * object. Nothing is visible before Complete, and Complete comes only after the caller accepted the content.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { constants } from 'node:fs';
import { crc32 } from 'node:zlib';
import {
  CreateMultipartUploadCommand,
  UploadPartCommand,
  type CompletedPart,
  type CreateMultipartUploadCommandInput,
} from '@aws-sdk/client-s3';
import { crashPoint } from '../../crash-points.ts';
import { WardenError } from '../../errors.ts';
import { acceptance, confirmWhole, crcHex, fill, nothingFollowed, type Followed } from '../follow.ts';
import { startPace } from '../pace.ts';
import type { GrowingFile, StoredObject, UploadOptions } from '../types.ts';
import type { Bucket } from './bucket.ts';
import type { Calls } from './calls.ts';
import { completeUpload, type Upload } from './complete.ts';
import { toBase64 } from './head.ts';
import { confirmOrRemove, putObject, refuseExisting } from './put.ts';
import { abandonUploads } from './sweep.ts';
import { partSizeFor } from './tuning.ts';

/** Uploads the spool; a file of at most one part goes in a single PUT. */
export async function uploadFile(
  calls: Calls,
  bucket: Bucket,
  key: string,
  source: GrowingFile,
  options: UploadOptions,
): Promise<StoredObject> {
  // Opened before anything else: another store may publish this spool by a link and take its name away.
  const handle = await open(source.path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await refuseExisting(calls, bucket, key, options);
    const buffers = allocate(calls, source);
    const state = nothingFollowed();
    const first = buffers.pop()!;
    const length = await fill(handle, source, state, first, { signal: options.signal });
    crashPoint('first-byte');
    if (length < first.length) return await putWhole(calls, bucket, key, first.subarray(0, length), source, state, options);
    return await inParts(calls, bucket, key, { handle, source, state, first, buffers }, options);
  } finally {
    await handle.close();
  }
}

interface Reading {
  readonly handle: FileHandle;
  readonly source: GrowingFile;
  readonly state: Followed;
  /** The first part, already read. */
  readonly first: Buffer;
  /** The other buffers. */
  readonly buffers: Buffer[];
}

function allocate(calls: Calls, source: GrowingFile): Buffer[] {
  const size = partSizeFor(source.maxLength, calls.tuning);
  return Array.from({ length: calls.tuning.partsInFlight + 1 }, () => Buffer.allocUnsafeSlow(size));
}

async function putWhole(
  calls: Calls,
  bucket: Bucket,
  key: string,
  body: Buffer,
  source: GrowingFile,
  state: Followed,
  options: UploadOptions,
): Promise<StoredObject> {
  await confirmWhole(source, state, options.signal);
  await acceptance(options.accepted, options.signal);
  await startPace(options.maxRate ?? 0)(body.length, options.signal);
  crashPoint('before-complete');
  const stored = await putObject(calls, bucket, key, body, options);
  crashPoint('after-complete');
  options.onProgress?.(state.length);
  return stored;
}

async function inParts(calls: Calls, bucket: Bucket, key: string, reading: Reading, options: UploadOptions): Promise<StoredObject> {
  const upload = await create(calls, bucket, key, options.signal);
  crashPoint('after-create');
  try {
    await sendParts(calls, bucket, upload, reading, options);
    await confirmWhole(reading.source, reading.state, options.signal);
    await acceptance(options.accepted, options.signal);
    const sent = { key, size: reading.state.length, crc32: crcHex(reading.state.crc32) };
    crashPoint('before-complete');
    await completeUpload(calls, bucket, upload, sent, reading.state.crc32, options.signal);
    crashPoint('after-complete');
    return await confirmOrRemove(calls, bucket, sent, options);
  } catch (error) {
    // Parts of an upload that nobody ends are billed for ever. Also after a signal, so not with the caller's; bounded, since the store may be what failed.
    await abandonUploads(calls, bucket, key, undefined);
    throw error;
  }
}

async function create(calls: Calls, bucket: Bucket, key: string, signal: AbortSignal): Promise<Upload> {
  const input: CreateMultipartUploadCommandInput = {
    Bucket: bucket.Bucket,
    Key: bucket.full(key),
    ...bucket.forWriting(),
    ...(bucket.storageClass === undefined
      ? {}
      : { StorageClass: bucket.storageClass as NonNullable<CreateMultipartUploadCommandInput['StorageClass']> }),
    ...(bucket.checksums ? { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' } : {}),
  };
  let attempts = 0;
  let id: string | undefined;
  try {
    const { UploadId } = await calls.call(
      `multipart upload of ${key}`,
      (client, abortSignal) => {
        attempts++;
        return client.send(new CreateMultipartUploadCommand(input), { abortSignal });
      },
      { signal },
    );
    id = UploadId;
  } finally {
    // An attempt that failed may have begun an upload all the same.
    if (attempts > 1 || id === undefined) await abandonUploads(calls, bucket, key, id);
  }
  if (id === undefined) throw new WardenError('store-misbehaves', `${calls.location}: the multipart upload of ${key} has no id`);
  return { key, id, parts: [] };
}

/** Reads and sends in turns, at most `partsInFlight` at once. When one fails the others are stopped and awaited: none may arrive after the abort. */
async function sendParts(calls: Calls, bucket: Bucket, upload: Upload, reading: Reading, options: UploadOptions): Promise<void> {
  const { handle, source, state } = reading;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const free = reading.buffers;
  const inFlight = new Set<Promise<void>>();
  const pace = startPace(options.maxRate ?? 0);
  let uploaded = 0;
  // Its own promise, because a part that failed has left the set before anyone may be looking at it.
  const { promise: failure, reject: fail } = Promise.withResolvers<never>();
  failure.catch(() => {});

  async function sendOne(number: number, buffer: Buffer, length: number): Promise<void> {
    const bytes = buffer.subarray(0, length);
    upload.parts[number - 1] = await sendPart(calls, bucket, upload, number, bytes, signal);
    uploaded += length;
    options.onProgress?.(uploaded);
    free.push(buffer);
    crashPoint('mid');
  }

  try {
    let buffer = reading.first;
    let length = buffer.length;
    for (let number = 1; length > 0; number++) {
      const sending = sendOne(number, buffer, length).finally(() => inFlight.delete(sending));
      sending.catch(fail);
      inFlight.add(sending);
      // oxlint-disable-next-line no-await-in-loop -- parts are read in order
      await pace(length, signal);
      // oxlint-disable-next-line no-await-in-loop -- parts are read in order
      while (inFlight.size >= calls.tuning.partsInFlight) await Promise.race([...inFlight, failure]);
      buffer = free.pop()!;
      // oxlint-disable-next-line no-await-in-loop -- parts are read in order
      length = await Promise.race([fill(handle, source, state, buffer, { signal }), failure]);
    }
    await Promise.race([Promise.all(inFlight), failure]);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(inFlight);
    throw error;
  }
}

async function sendPart(
  calls: Calls,
  bucket: Bucket,
  upload: Upload,
  number: number,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<CompletedPart> {
  const crc = bucket.checksums ? { ChecksumCRC32: toBase64(crc32(bytes)) } : {};
  const input = {
    Bucket: bucket.Bucket,
    Key: bucket.full(upload.key),
    UploadId: upload.id,
    PartNumber: number,
    Body: bytes,
    ContentLength: bytes.length,
    ...bucket.forReading(),
    ...crc,
  };
  const { ETag } = await calls.call(
    `part ${number} of ${upload.key}`,
    (client, abortSignal) => client.send(new UploadPartCommand(input), { abortSignal }),
    { signal, deadlineMs: calls.requestTimeoutMs + (bytes.length / calls.tuning.minRate) * 1000 },
  );
  if (ETag === undefined)
    throw new WardenError('store-misbehaves', `${calls.location}: part ${number} of ${upload.key} was taken without an ETag`);
  return { PartNumber: number, ETag, ...crc };
}
