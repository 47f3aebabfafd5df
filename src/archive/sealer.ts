/**
 * Plain bytes in, a sealed spool out: 1 MiB frames, compressed in parallel and written in order, encrypted when there are recipients, the
 * seek table last. Memory is a fixed pool of blocks, whatever passes through.
 */
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { asError, WardenError } from '../errors.ts';
import type { GrowingFile } from '../store/types.ts';
import { createHeader, type AgeKey } from './age.ts';
import { createPayloadSealer, payloadStoredLength, type PayloadSealer } from './age-payload.ts';
import { createFrameCompressor, DEFAULT_LEVEL, FRAME_BOUND, FRAME_LENGTH, type FrameCompressor } from './frames.ts';
import { encodeSeekTable, type Frame } from './seek-table.ts';
import { release } from './young-garbage.ts';
import { createSpool, type Spool, type SpoolFigures } from './spool.ts';

/** Blocks of plain bytes between the network and the disk: what the stream may run ahead of compression and disk. */
const BLOCKS = 8;

export interface SealerOptions {
  /** File to write; must not exist. */
  readonly spoolPath: string;
  /** The most plain bytes that are expected; sets the size of upload parts, not a limit. */
  readonly maxPlainBytes: number;
  /** age recipients; none = not encrypted. */
  readonly recipients: readonly string[];
  readonly signal: AbortSignal;
  /** zstd level; {@link DEFAULT_LEVEL} unless told. */
  readonly level?: number | undefined;
  /** Sees the plain bytes in file order, a block at a time; the block may be used again when it returns. Must not throw. */
  readonly onPlain?: ((block: Buffer) => void) | undefined;
}

export interface SealedFigures {
  readonly plainBytes: number;
  readonly plainSha256: string;
  readonly storedBytes: number;
  readonly storedSha256: string;
  /** Eight lower-case hex digits. */
  readonly storedCrc32: string;
  readonly encryption: 'none' | 'age';
}

/** What opens the spool again without an identity, for checks right after writing. Stays in memory. */
export interface SealedSpool {
  readonly path: string;
  readonly size: number;
  readonly frames: readonly Frame[];
  readonly key: AgeKey | undefined;
}

export interface Sealer {
  /** For stores: uploads may begin at once. */
  readonly spool: GrowingFile;
  /**
   * Takes all of `bytes`. A promise means that every block is in use: await it before the next call, and leave `bytes` alone until then.
   * Otherwise they were copied already.
   */
  write(bytes: Buffer): void | Promise<void>;
  /** SHA-256 of everything written so far, raw; more may follow. */
  digest(): Buffer;
  /** Writes what is left and the seek table, and syncs. */
  finish(): Promise<SealedFigures>;
  /** After finish. */
  sealed(): SealedSpool;
  /** Closes and removes the spool, at any time, any number of times; also after finish, when every store has its copy. */
  abort(reason?: Error): Promise<void>;
}

/** @throws WardenError `disk-full`, `disk-failed`, `config-invalid` (a recipient) */
export async function createSealer(options: SealerOptions): Promise<Sealer> {
  options.signal.throwIfAborted();
  const age = options.recipients.length === 0 ? undefined : await createHeader(options.recipients);
  const spool = await createSpool(options.spoolPath, maxStoredBytes(options.maxPlainBytes, age?.header.length));
  return sealInto(spool, { ...options, age });
}

interface SealIntoOptions extends Pick<SealerOptions, 'signal' | 'level' | 'onPlain'> {
  readonly age?: { readonly header: Buffer; readonly key: AgeKey } | undefined;
}

/** The sealer over a spool that is open already. */
export function sealInto(spool: Spool, options: SealIntoOptions): Sealer {
  return new BlockSealer(spool, options);
}

class BlockSealer implements Sealer {
  readonly spool: Spool;
  readonly #compressor: FrameCompressor;
  readonly #key: AgeKey | undefined;
  readonly #payload: PayloadSealer | undefined;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;
  readonly #onPlain: ((block: Buffer) => void) | undefined;
  readonly #sha256 = createHash('sha256');
  readonly #frames: Frame[] = [];
  readonly #free: Buffer[] = [];
  #blocks = 0;
  #wakeWriter: (() => void) | undefined;
  #block: Buffer | undefined;
  #used = 0;
  #hashed = 0;
  #plainBytes = 0;
  /** Every frame's way to the disk, in order; never rejects. */
  #tail: Promise<void>;
  #figures: SpoolFigures | undefined;

  constructor(spool: Spool, options: SealIntoOptions) {
    this.spool = spool;
    // One lane more than cores keeps the thread pool busy while the main thread reads the network and hashes. The pool has four threads
    // unless told otherwise, and one is for the disk; three lanes are more than 1 GB/s, which no member sends.
    const lanes = Math.min(3, availableParallelism() + 1);
    this.#compressor = createFrameCompressor({ level: options.level ?? DEFAULT_LEVEL, lanes });
    this.#key = options.age?.key;
    this.#payload = this.#key === undefined ? undefined : createPayloadSealer(this.#key.payloadKey);
    this.#signal = options.signal;
    this.#onPlain = options.onPlain;
    this.#onAbort = () => this.#fail(asError(this.#signal.reason));
    this.#signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#tail = this.#guard(() => spool.append(options.age === undefined ? [] : [options.age.header]));
    if (this.#signal.aborted) this.#onAbort();
  }

  write(bytes: Buffer): void | Promise<void> {
    if (this.spool.failure !== undefined) throw this.spool.failure;
    const taken = this.#take(bytes);
    if (taken < bytes.length) return this.#takeLater(bytes.subarray(taken));
  }

  digest(): Buffer {
    this.#hash();
    return this.#sha256.copy().digest();
  }

  async finish(): Promise<SealedFigures> {
    if (this.#used > 0) this.#sealBlock();
    await this.#tail;
    const table = encodeSeekTable(this.#frames);
    await this.#guard(async () => {
      await this.spool.append(this.#payload === undefined ? [table] : [...this.#payload.seal(table), ...this.#payload.end()]);
      this.#figures = this.spool.end();
      await this.spool.sync();
    });
    this.#stop();
    if (this.spool.failure !== undefined) throw this.spool.failure;
    await this.spool.close();
    const figures = this.#figures!;
    return {
      plainBytes: this.#plainBytes,
      plainSha256: this.digest().toString('hex'),
      storedBytes: figures.length,
      storedSha256: figures.sha256,
      storedCrc32: figures.crc32,
      encryption: this.#key === undefined ? 'none' : 'age',
    };
  }

  sealed(): SealedSpool {
    if (this.#figures === undefined) throw new Error('the spool is not finished');
    return { path: this.spool.path, size: this.#figures.length, frames: this.#frames, key: this.#key };
  }

  async abort(reason?: Error): Promise<void> {
    this.#fail(reason ?? new WardenError('interrupted', 'the backup was given up'));
    await this.#tail;
    this.#stop();
    await this.spool.remove();
  }

  /** Copies as much as there are blocks for, and says how much. */
  #take(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length) {
      this.#block ??= this.#freeBlock();
      if (this.#block === undefined) break;
      const copied = bytes.copy(this.#block, this.#used, at);
      at += copied;
      this.#used += copied;
      this.#plainBytes += copied;
      if (this.#used === FRAME_LENGTH) this.#sealBlock();
    }
    return at;
  }

  async #takeLater(bytes: Buffer): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.spool.failure !== undefined) throw this.spool.failure;
      const taken = this.#take(rest);
      rest = rest.subarray(taken);
      if (rest.length > 0) {
        await new Promise<void>((resolve) => {
          this.#wakeWriter = resolve;
        });
      }
    }
  }

  #freeBlock(): Buffer | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#blocks === BLOCKS) return free;
    this.#blocks += 1;
    return Buffer.allocUnsafeSlow(FRAME_LENGTH);
  }

  /** Hashes what of the current block is not hashed yet: in one call per block, except where someone asks for a digest in between. */
  #hash(): void {
    if (this.#block !== undefined) this.#sha256.update(this.#block.subarray(this.#hashed, this.#used));
    this.#hashed = this.#used;
  }

  /** Sends the current block to compression, and behind the frames before it to the disk. It is free again when it is written. */
  #sealBlock(): void {
    this.#hash();
    const block = this.#block!;
    const plainLength = this.#used;
    this.#block = undefined;
    this.#used = 0;
    this.#hashed = 0;
    const plain = block.subarray(0, plainLength);
    const frame = this.#compressor.compress(plain);
    frame.catch(() => undefined); // awaited in its turn below
    // After the compression was started, which goes on in other threads meanwhile.
    this.#onPlain?.(plain);
    this.#tail = this.#tail.then(() =>
      this.#guard(async () => {
        const stored = await frame;
        this.#frames.push({ storedLength: stored.length, plainLength });
        await this.#append(stored);
        this.#free.push(block);
        this.#wake();
      }),
    );
  }

  async #append(stored: Buffer): Promise<void> {
    if (this.#payload === undefined) return this.spool.append([stored]);
    const chunks = this.#payload.seal(stored);
    await this.spool.append(chunks);
    // OpenSSL's output comes in a new ArrayBuffer for each chunk of 64 KiB: left to the collector they add up to 60 MiB before it looks.
    chunks.forEach(release);
  }

  async #guard(step: () => Promise<void>): Promise<void> {
    if (this.spool.failure !== undefined) return;
    try {
      await step();
    } catch (error) {
      this.#fail(asError(error));
    }
  }

  #fail(error: Error): void {
    this.spool.fail(error);
    this.#wake();
  }

  #wake(): void {
    const wake = this.#wakeWriter;
    this.#wakeWriter = undefined;
    wake?.();
  }

  #stop(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#compressor.close();
    this.#free.length = 0;
  }
}

/** The longest that so many plain bytes can become. */
function maxStoredBytes(plainBytes: number, headerLength: number | undefined): number {
  const frames = Math.ceil(plainBytes / FRAME_LENGTH);
  const stored = frames * FRAME_BOUND + encodeSeekTable([]).length + frames * 8;
  return headerLength === undefined ? stored : headerLength + payloadStoredLength(stored);
}
