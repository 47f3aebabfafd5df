/**
 * Plain bytes into independent zstd frames, and one frame back. Each frame carries its content size and a checksum, so that any of them
 * can be fetched, decoded and judged alone.
 */
import { constants, createZstdCompress, createZstdDecompress, zstdDecompress, type ZstdCompress } from 'node:zlib';
import { asError, WardenError } from '../errors.ts';
import { parseFrameHeader } from './frame-header.ts';

/** Plain bytes in each frame but the last. 1 MiB loses no ratio against 8 MiB (measured) and is what one point read costs. */
export const FRAME_LENGTH = 2 ** 20;

/** Frames that declare more are refused: a damaged or hostile header must not decide how much memory we take. zstd's own default limit. */
export const MAX_FRAME_LENGTH = 128 * 2 ** 20;

/** Level 1 is as small as level 3 on etcd's data at 1.8 times the speed (measured; docs/decisions/0006). */
export const DEFAULT_LEVEL = 1;

/** More than any frame of {@link FRAME_LENGTH} plain bytes: ZSTD_COMPRESSBOUND, header, checksum, and room. */
export const FRAME_BOUND = FRAME_LENGTH + (FRAME_LENGTH >> 8) + 1024;

/** Output buffers that zlib allocates: several frames share one, which keeps allocation (and the memory between two collections) low. */
const OUTPUT_CHUNK = 2 ** 20;

export interface FrameCompressor {
  /** One complete frame. The buffers must not change until the promise settles. */
  compress(plain: Buffer): Promise<Buffer>;
  close(): void;
}

/**
 * Compresses on the libuv thread pool, `lanes` frames at a time, each lane with one compression context for its whole life: one-shot
 * `zstdCompress` makes a new one for each call and costs a quarter more CPU (3.1 against 2.5 s/GiB).
 */
export function createFrameCompressor(options: { readonly level: number; readonly lanes: number }): FrameCompressor {
  const lanes = Array.from({ length: options.lanes }, () => createLane(options.level));
  let turn = 0;
  return {
    compress(plain) {
      const lane = lanes[turn]!;
      turn = (turn + 1) % lanes.length;
      return lane.compress(plain);
    },
    close() {
      for (const lane of lanes) lane.close();
    },
  };
}

/**
 * The plain bytes of exactly one frame.
 * @param place what to call it in an error, e.g. `frame 12`.
 * @throws WardenError `verification-failed` when it is damaged, longer or shorter than it says, or declares more than {@link MAX_FRAME_LENGTH}.
 */
export async function decodeFrame(stored: Buffer, place: string): Promise<Buffer> {
  const header = parseFrameHeader(stored);
  if (header === undefined) throw damaged(place, 'it does not start as a zstd frame does');
  if (Math.max(header.contentLength ?? 0, header.windowLength) > MAX_FRAME_LENGTH) throw tooLarge(place);
  const limit = header.contentLength ?? MAX_FRAME_LENGTH;
  const plain = await decompress(stored, limit).catch((error: unknown) => {
    const unlimited = header.contentLength === undefined && (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw unlimited ? tooLarge(place) : damaged(place, asError(error).message, error);
  });
  // A truncated frame passed for a short one until nodejs/node#64592.
  if (header.contentLength !== undefined && plain.length !== header.contentLength) {
    throw damaged(place, `it holds ${plain.length} plain bytes and declares ${header.contentLength}`);
  }
  return plain;
}

export interface FrameDecoder {
  /**
   * As {@link decodeFrame}; the buffer shares its memory with nobody. After a failure the others that are under way may fail as well.
   * @throws WardenError `verification-failed`
   */
  decode(stored: Buffer, place: string): Promise<Buffer>;
  close(): void;
}

/**
 * Decodes many frames, `lanes` at a time, each lane with one context: a new one for each frame of 2 GiB costs a third more processor time, and since V8
 * counts its memory, 70 collections of the whole heap.
 */
export function createFrameDecoder(options: { readonly lanes: number }): FrameDecoder {
  const lanes = Array.from({ length: options.lanes }, createDecodingLane);
  let turn = 0;
  return {
    async decode(stored, place) {
      const header = parseFrameHeader(stored);
      // A lane's output buffers have the length of our frames, so that each frame fills one: other frames go the other way.
      if (header?.contentLength !== FRAME_LENGTH || header.windowLength > MAX_FRAME_LENGTH) return decodeFrame(stored, place);
      const lane = lanes[turn]!;
      turn = (turn + 1) % lanes.length;
      const plain = await lane.decode(stored).catch((error: unknown) => {
        throw damaged(place, asError(error).message, error);
      });
      if (plain.length !== FRAME_LENGTH) throw damaged(place, `it holds ${plain.length} plain bytes and declares ${FRAME_LENGTH}`);
      return plain;
    },
    close() {
      for (const lane of lanes) lane.close();
    },
  };
}

/** The refusal of a frame that wants too much memory. */
export function tooLarge(place: string): WardenError {
  return new WardenError('verification-failed', `${place} declares more than ${MAX_FRAME_LENGTH / 2 ** 20} MiB and is refused`, {
    hint: 'etcd-warden writes frames of 1 MiB; decompress a foreign file with `zstd -d --memory=2048MB` and name the plain file',
  });
}

function createLane(level: number): FrameCompressor {
  // With ZSTD_e_end as the flush of every write, a write that brings all of a frame's input at once makes one complete frame, and zstd
  // itself notes the content size in it (ZSTD_CCtx_init_compressStream2). Outputs are read in the write's own callback: by then they are all there.
  const stream: ZstdCompress = createZstdCompress({
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
    flush: constants.ZSTD_e_end,
    chunkSize: OUTPUT_CHUNK,
    readableHighWaterMark: 4 * FRAME_BOUND,
  } as Parameters<typeof createZstdCompress>[0]);
  let failure: Error | undefined;
  stream.on('error', (error) => {
    failure = error;
  });
  let last: Promise<unknown> = Promise.resolve();
  function write(plain: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      stream.write(plain, (error) => {
        const frame: unknown = error === null || error === undefined ? stream.read() : undefined;
        if (!Buffer.isBuffer(frame)) reject(failure ?? error ?? new Error('zstd gave no output'));
        else if (parseFrameHeader(frame)?.contentLength !== plain.length) reject(new Error('zstd wrote a frame without its content size'));
        else resolve(frame);
      });
    });
  }
  return {
    compress(plain) {
      const frame = last.then(() => write(plain));
      last = frame.catch(() => undefined); // told to whoever awaits the frame
      return frame;
    },
    close() {
      stream.destroy();
    },
  };
}

/** One frame in each write: what comes with a frame's end in one piece is dropped (nodejs/node#64741), and nothing does. */
function createDecodingLane(): { decode(stored: Buffer): Promise<Buffer>; close(): void } {
  const stream = createZstdDecompress({ chunkSize: FRAME_LENGTH, readableHighWaterMark: 4 * FRAME_LENGTH } as Parameters<
    typeof createZstdDecompress
  >[0]);
  let failure: Error | undefined;
  let fail: ((error: Error) => void) | undefined;
  stream.on('error', (error) => {
    failure = error;
    fail?.(error); // the write that failed is never called back
  });
  let last: Promise<unknown> = Promise.resolve();
  function write(stored: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (failure !== undefined) {
        reject(failure);
        return;
      }
      fail = reject;
      stream.write(stored, (error) => {
        const plain: unknown = error === null || error === undefined ? stream.read() : undefined;
        if (Buffer.isBuffer(plain)) resolve(plain);
        else reject(failure ?? error ?? new Error('zstd gave no output'));
      });
    });
  }
  return {
    decode(stored) {
      const plain = last.then(() => write(stored));
      last = plain.catch(() => undefined); // told to whoever awaits it
      return plain;
    },
    close() {
      stream.destroy();
    },
  };
}

function decompress(stored: Buffer, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    zstdDecompress(
      stored,
      { maxOutputLength: Math.max(1, limit), chunkSize: Math.max(64, Math.min(limit, FRAME_LENGTH)) },
      (error, plain) => {
        if (error === null) resolve(plain);
        else reject(error);
      },
    );
  });
}

function damaged(place: string, why: string, cause?: unknown): WardenError {
  return new WardenError('verification-failed', `${place} is damaged: ${why}`, { cause });
}
