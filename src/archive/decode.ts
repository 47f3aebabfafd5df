/** Archives read from beginning to end with bounded memory: every frame, every chunk and the seek table are checked on the way. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Store } from '../store/types.ts';
import { type AgeKey, MAX_HEADER_LENGTH, openHeader } from './age.ts';
import { openPayload } from './age-payload.ts';
import { ByteQueue } from './byte-queue.ts';
import { decodeFrames } from './frame-stream.ts';
import { createHashThread, type HashThread } from './hash-thread.ts';
import { isCompressed, isEncrypted, MAGIC_LENGTH } from './layers.ts';
import type { OpenOptions } from './open.ts';
import { createSweeper, release } from './young-garbage.ts';

export interface StoredFigures {
  readonly storedBytes: number;
  readonly storedSha256: string;
  /** Eight lower-case hex digits. */
  readonly storedCrc32: string;
}

export interface PlainFigures {
  readonly plainBytes: number;
  readonly plainSha256: string;
}

export interface ContentFigures extends StoredFigures, PlainFigures {}

export interface ReadOptions extends OpenOptions {
  /** Stored bytes read so far. */
  readonly onProgress?: ((storedBytes: number) => void) | undefined;
  /** The stored bytes as they pass, in order; not to be kept. */
  readonly onStored?: ((chunk: Buffer) => void) | undefined;
}

export interface ContentOptions extends ReadOptions {
  /** The plain bytes as they pass, in file order; not to be kept. What it returns is awaited before the next ones come. */
  readonly onPlain?: ((block: Buffer) => void | Promise<void>) | undefined;
  /** So many blocks more are handed on before the first of them was taken; 0 unless the taker can do with several at once. */
  readonly ahead?: number | undefined;
  /** About how many plain bytes there will be: many are hashed in a thread of their own. */
  readonly expectedBytes?: number | undefined;
}

/** A thread costs as much as hashing 50 MiB, and some memory. */
const THREAD_FROM = 256 * 2 ** 20;

/** Reads an object and hashes it as it lies there: the level `stored`, which needs no key. */
export async function hashStored(store: Store, key: string, options: ReadOptions): Promise<StoredFigures> {
  const tally = createTally();
  for await (const chunk of passing(store.stream(key, options), options)) tally.add(chunk);
  return tally.figures();
}

/** Reads an object down to its plain bytes: the level `content`. @throws WardenError `key-missing`, `verification-failed` */
export async function hashContent(store: Store, key: string, options: ContentOptions): Promise<ContentFigures> {
  const tally = createTally();
  const plain = await hashDecoded(passing(store.stream(key, options), options, tally.add), key, options);
  return { ...tally.figures(), ...plain };
}

/**
 * The same for those who want the plain bytes alone: whoever holds them against their own SHA-256 has no need of that of the stored ones, which costs a tenth of
 * all that a restore computes.
 */
export function hashPlain(store: Store, key: string, options: ContentOptions): Promise<PlainFigures> {
  return hashDecoded(passing(store.stream(key, options), options), key, options);
}

export interface DecodedFigures extends Pick<StoredFigures, 'storedBytes' | 'storedSha256'>, Pick<PlainFigures, 'plainBytes'> {}

/**
 * The other way round: SHA-256 of the stored bytes while the plain ones are handed on. Equal stored bytes decode to equal plain ones, each frame is held against its
 * own checksum, and there are fewer bytes to hash by what compression saved: a sixth of all that a restore computes (docs/decisions/0022).
 * @throws WardenError `key-missing`, `verification-failed`
 */
export async function hashSealed(store: Store, key: string, options: ContentOptions): Promise<DecodedFigures> {
  const sha256 = createHash('sha256');
  let storedBytes = 0;
  const chunks = passing(store.stream(key, options), options, (chunk) => {
    sha256.update(chunk);
    storedBytes += chunk.length;
  });
  const plainBytes = await handOn(chunks, key, { ...options, done: release });
  return { storedBytes, storedSha256: sha256.digest('hex'), plainBytes };
}

async function hashDecoded(source: AsyncIterable<Buffer>, key: string, options: ContentOptions): Promise<PlainFigures> {
  const sha256 = (options.expectedBytes ?? 0) < THREAD_FROM ? hashHere() : createHashThread();
  try {
    const plainBytes = await handOn(source, key, { ...options, done: (plain) => sha256.update(alone(plain)) });
    return { plainBytes, plainSha256: await sha256.digest() };
  } finally {
    await sha256.close();
  }
}

interface HandOnOptions extends ContentOptions {
  /** Gets each block when its taker is done with it, and gives its memory away. */
  readonly done: (plain: Buffer) => void | Promise<void>;
}

/** @returns how many plain bytes there were */
async function handOn(source: AsyncIterable<Buffer>, key: string, options: HandOnOptions): Promise<number> {
  const sweep = createSweeper();
  const { ahead = 0, onPlain, done } = options;
  const taking: { readonly plain: Buffer; readonly taken: void | Promise<void> }[] = [];
  let plainBytes = 0;
  async function finishFirst(): Promise<void> {
    const { plain, taken } = taking[0]!;
    if (taken !== undefined) await taken;
    void taking.shift();
    plainBytes += plain.length;
    sweep(plain.length);
    const given = done(plain);
    if (given !== undefined) await given;
  }
  try {
    for await (const plain of decodeBytes(source, key, options)) {
      const taken = onPlain?.(plain);
      taken?.catch(() => undefined); // awaited in its turn
      taking.push({ plain, taken });
      while (taking.length > ahead) await finishFirst();
    }
    while (taking.length > 0) await finishFirst();
    return plainBytes;
  } finally {
    await Promise.allSettled(taking.map(async ({ taken }) => taken));
  }
}

/** The same without a thread: gives each buffer's memory back at once too, since the collector lets a hundred MiB of them lie before it looks. */
function hashHere(): HashThread {
  const sha256 = createHash('sha256');
  return {
    update(bytes) {
      sha256.update(bytes);
      bytes.buffer.transfer(0);
    },
    digest: () => Promise.resolve(sha256.digest('hex')),
    close: () => Promise.resolve(),
  };
}

/** A buffer that shares its memory with nobody: what the decoder makes nearly always is one. */
function alone(bytes: Buffer): Buffer<ArrayBuffer> {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.length) return bytes as Buffer<ArrayBuffer>;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

/** The plain bytes of an object in file order. */
export function decodeStream(store: Store, key: string, options: OpenOptions): AsyncGenerator<Buffer, void, undefined> {
  return decodeBytes(store.stream(key, options), key, options);
}

/**
 * The plain bytes of an archive that comes as a stream.
 * @param name tells with its suffixes what it must be; without them its first bytes do.
 * @throws WardenError `key-missing`, `verification-failed`
 */
export async function* decodeBytes(
  source: AsyncIterable<Buffer>,
  name: string,
  options: OpenOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const stored = new ByteQueue(source);
  try {
    await stored.fill(MAGIC_LENGTH);
    const inner = isEncrypted(name, stored.peek(MAGIC_LENGTH))
      ? new ByteQueue(openPayload((await takeHeader(stored, options)).payloadKey, stored))
      : stored;
    await inner.fill(MAGIC_LENGTH);
    if (isCompressed(name, inner.peek(MAGIC_LENGTH))) yield* decodeFrames(inner);
    else while (await inner.fill(1)) yield inner.take(inner.length);
  } finally {
    await stored.close();
  }
}

async function takeHeader(stored: ByteQueue, options: OpenOptions): Promise<AgeKey> {
  await stored.fill(MAX_HEADER_LENGTH);
  const key = await openHeader(stored.peek(MAX_HEADER_LENGTH), options.identities ?? []);
  stored.take(key.headerLength);
  return key;
}

/** @param look at each chunk before it goes on */
async function* passing(
  source: AsyncIterable<Buffer>,
  { signal, onStored, onProgress }: ReadOptions,
  look?: (chunk: Buffer) => void,
): AsyncGenerator<Buffer, void, undefined> {
  let storedBytes = 0;
  for await (const chunk of source) {
    signal.throwIfAborted();
    storedBytes += chunk.length;
    look?.(chunk);
    onStored?.(chunk);
    onProgress?.(storedBytes);
    yield chunk;
    release(chunk); // whoever asks for the next one has copied what it needs
  }
}

interface Tally {
  add(this: void, chunk: Buffer): void;
  figures(): StoredFigures;
}

function createTally(): Tally {
  const sha256 = createHash('sha256');
  let sum = 0;
  let storedBytes = 0;
  return {
    add(chunk) {
      sha256.update(chunk);
      sum = crc32(chunk, sum);
      storedBytes += chunk.length;
    },
    figures: () => ({ storedBytes, storedSha256: sha256.digest('hex'), storedCrc32: sum.toString(16).padStart(8, '0') }),
  };
}
