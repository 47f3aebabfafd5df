/**
 * The spool: a file that one backup writes from beginning to end while stores already read it.
 * Checksums are taken of what is handed to the kernel, so they are those of the bytes that were meant, whatever the disk does with them.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { crashPoint } from '../crash-points.ts';
import { asError, WardenError } from '../errors.ts';
import type { GrowingFile } from '../store/types.ts';
import { diskError } from './disk-errors.ts';

/** The part of a FileHandle that the spool uses; tests put failing disks behind it. */
export type SpoolHandle = Pick<FileHandle, 'writev' | 'datasync' | 'close'>;

export interface SpoolFigures {
  readonly length: number;
  readonly sha256: string;
  readonly crc32: string;
}

/**
 * Bytes after which what was written is pushed to the disk in the background. On a disk shared with etcd one large flush at the end
 * delays etcd's own fsync of its log until it loses its leader; many small ones do not.
 */
const WRITEBACK_STEP = 32 * 2 ** 20;

/** Creates the file, which must not exist; 0600 whatever the umask. @throws WardenError `disk-full`, `disk-failed` */
export async function createSpool(path: string, maxLength: number): Promise<Spool> {
  try {
    // O_EXCL and O_NOFOLLOW: nobody who can write to the folder can point us at another file.
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const handle = await open(path, flags, 0o600);
    crashPoint('open-tmp');
    await handle.chmod(0o600); // the umask may have taken the owner's bits
    return new Spool(handle, path, maxLength);
  } catch (error) {
    throw await diskError(error, 'create', path, maxLength);
  }
}

export class Spool implements GrowingFile {
  readonly path: string;
  readonly maxLength: number;
  readonly finished: Promise<SpoolFigures>;
  readonly #handle: SpoolHandle;
  readonly #sha256 = createHash('sha256');
  readonly #settle: { resolve(figures: SpoolFigures): void; reject(error: Error): void };
  readonly #waiting = new Set<() => void>();
  #crc32 = 0;
  #available = 0;
  #ended = false;
  #failure: Error | undefined;
  #writeback: Promise<void> = Promise.resolve();
  #writtenBack = 0;
  #closing: Promise<void> | undefined;

  constructor(handle: SpoolHandle, path: string, maxLength: number) {
    const { promise, resolve, reject } = Promise.withResolvers<SpoolFigures>();
    this.#handle = handle;
    this.path = path;
    this.maxLength = maxLength;
    this.finished = promise;
    this.#settle = { resolve, reject };
    promise.catch(() => undefined); // told to whoever asks, and to the writer
  }

  get available(): number {
    return this.#available;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Appends in the order of the calls; one call at a time. */
  async append(buffers: readonly Buffer[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    for (const buffer of buffers) {
      this.#sha256.update(buffer);
      this.#crc32 = crc32(buffer, this.#crc32);
    }
    const first = this.#available === 0;
    try {
      await this.#writeAll(buffers);
    } catch (error) {
      throw this.fail(await diskError(error, 'write', this.path, Math.max(0, this.maxLength - this.#available)));
    }
    crashPoint(first ? 'first-byte' : 'mid');
    this.#wake();
    this.#startWriteback();
  }

  /** No byte follows: readers get their figures. Not yet synced. */
  end(): SpoolFigures {
    if (this.#failure !== undefined) throw this.#failure;
    const figures = { length: this.#available, sha256: this.#sha256.digest('hex'), crc32: this.#crc32.toString(16).padStart(8, '0') };
    this.#ended = true;
    this.#settle.resolve(figures);
    this.#wake();
    return figures;
  }

  /**
   * Makes the bytes survive a loss of power. After a failed fsync the kernel has dropped the pages and calls them clean: a second one would
   * succeed and prove nothing, so there is none.
   */
  async sync(): Promise<void> {
    await this.#writeback;
    if (this.#failure !== undefined) throw this.#failure;
    crashPoint('before-fsync');
    await this.#datasync();
    crashPoint('after-fsync');
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the file with an error: readers are told. The first error counts and is returned. */
  fail(error: Error): Error {
    if (this.#failure === undefined) {
      this.#failure = error;
      this.#settle.reject(error);
      this.#wake();
    }
    return this.#failure;
  }

  async waitBeyond(length: number, signal: AbortSignal): Promise<void> {
    while (this.#available <= length && !this.#ended) {
      if (this.#failure !== undefined) throw this.#failure;
      if (signal.aborted) throw asError(signal.reason);
      await this.#change(signal);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Closes the descriptor once what is under way has ended; may be called again. */
  close(): Promise<void> {
    this.#closing ??= this.#writeback
      .then(() => this.#handle.close())
      .catch(async (error: unknown) => {
        throw await diskError(error, 'close', this.path, 0); // network file systems tell of a failed write only here
      });
    return this.#closing;
  }

  /** Closes and removes the file. */
  async remove(): Promise<void> {
    this.fail(new WardenError('interrupted', `the spool ${this.path} was given up`));
    await this.close().catch(() => undefined); // it goes away: what could not be written does not matter any more
    await unlink(this.path).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw await diskError(error, 'remove', this.path, 0);
    });
  }

  async #writeAll(buffers: readonly Buffer[]): Promise<void> {
    let rest = buffers.filter((buffer) => buffer.length > 0);
    while (rest.length > 0) {
      const { bytesWritten } = await this.#handle.writev(rest);
      this.#available += bytesWritten;
      rest = after(rest, bytesWritten); // a disk that fills up takes a part first, and says ENOSPC only then
    }
  }

  #startWriteback(): void {
    if (this.#available - this.#writtenBack < WRITEBACK_STEP) return;
    this.#writtenBack = this.#available;
    this.#writeback = this.#writeback.then(() => this.#datasync());
  }

  async #datasync(): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      await this.#handle.datasync();
    } catch (error) {
      this.fail(await diskError(error, 'sync', this.path, 0));
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}

/** What remains of the buffers after their first `length` bytes. */
function after(buffers: readonly Buffer[], length: number): Buffer[] {
  const rest: Buffer[] = [];
  let skip = length;
  for (const buffer of buffers) {
    if (skip < buffer.length) rest.push(skip === 0 ? buffer : buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.length);
  }
  return rest;
}
