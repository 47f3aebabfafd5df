/** The file of a database that is being made: written, read and synced, with what the disk says about it in words. Nobody else may open it before it is complete. */
import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { diskError } from '../../archive/disk-errors.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import type { EditSink } from '../../boltdb/write/edit.ts';
import { asError, WardenError } from '../../errors.ts';

/**
 * Bytes after which what was written is pushed to the disk in the background: the sync at the end finds little left to do, and etcd on the same disk never
 * waits behind gigabytes.
 */
const WRITEBACK_STEP = 32 * 2 ** 20;

export interface DatabaseFile extends EditSink {
  readonly path: string;
  write(offset: number, bytes: Buffer): Promise<void>;
  barrier(): Promise<void>;
  /** Reads the first `size` bytes. */
  access(size: number): RandomAccess;
  /** Cuts off what lies behind; with 0, begins again. */
  truncate(length: number): Promise<void>;
  /** On the disk, and closed. */
  finish(): Promise<void>;
  /** Closed and gone; throws nothing. */
  discard(): Promise<void>;
}

/** @param expectedBytes for the error of a disk that is full. @throws WardenError `disk-full`, `disk-failed` */
export async function createDatabaseFile(path: string, expectedBytes: number): Promise<DatabaseFile> {
  try {
    // O_EXCL and O_NOFOLLOW: nobody who can write to the folder can point us at another file.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const handle = await open(path, flags, 0o600);
    await handle.chmod(0o600); // the umask may have taken the owner's bits
    return new Open(path, handle, expectedBytes, true);
  } catch (error) {
    throw await diskError(error, 'create', path, expectedBytes);
  }
}

/** One that is there, to be looked at and changed. @throws WardenError `disk-failed` */
export async function openDatabaseFile(path: string): Promise<DatabaseFile & { readonly size: number }> {
  try {
    const handle = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
    const { size } = await handle.stat();
    return Object.assign(new Open(path, handle, size, false), { size });
  } catch (error) {
    throw await diskError(error, 'open', path, 0);
  }
}

class Open implements DatabaseFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #expectedBytes: number;
  readonly #own: boolean;
  #written = 0;
  #writtenBack = 0;
  #writeback: Promise<void> | undefined;
  #failure: Error | undefined;
  #closed = false;

  constructor(path: string, handle: FileHandle, expectedBytes: number, own: boolean) {
    this.path = path;
    this.#handle = handle;
    this.#expectedBytes = expectedBytes;
    this.#own = own;
  }

  async write(offset: number, bytes: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    for (let at = 0; at < bytes.length;) {
      try {
        // A disk that fills up takes a part first, and says ENOSPC only then.
        const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at, offset + at);
        at += bytesWritten;
      } catch (error) {
        throw await diskError(error, 'write', this.path, Math.max(bytes.length - at, this.#expectedBytes - offset - at));
      }
    }
    this.#written += bytes.length;
    if (this.#written - this.#writtenBack >= WRITEBACK_STEP && this.#writeback === undefined) this.#startWriteback();
  }

  async barrier(): Promise<void> {
    await this.#writeback;
    await this.#sync();
    if (this.#failure !== undefined) throw this.#failure;
  }

  access(size: number): RandomAccess {
    return {
      size,
      read: async (offset, length, signal) => {
        signal?.throwIfAborted();
        if (offset < 0 || offset + length > size)
          throw new WardenError(
            'verification-failed',
            `${this.path} ends too early: ${length} bytes at ${offset} were asked for, it has ${size}`,
          );
        const buffer = Buffer.allocUnsafeSlow(length);
        for (let at = 0; at < length;) {
          const { bytesRead } = await this.#handle.read(buffer, at, length - at, offset + at).catch(async (error: unknown) => {
            throw await diskError(error, 'read', this.path, 0);
          });
          if (bytesRead === 0) throw new WardenError('disk-failed', `${this.path} ended at ${offset + at} while it was read`);
          at += bytesRead;
        }
        return buffer;
      },
    };
  }

  async truncate(length: number): Promise<void> {
    await this.#writeback;
    await this.#handle.truncate(length).catch(async (error: unknown) => {
      throw await diskError(error, 'truncate', this.path, 0);
    });
  }

  async finish(): Promise<void> {
    await this.#writeback;
    try {
      // Its length too, which datasync alone need not write where it did not grow.
      if (this.#failure === undefined) await this.#handle.sync();
    } catch (error) {
      this.#failure = await diskError(error, 'sync', this.path, 0);
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#closed = true;
    await this.#handle.close().catch(async (error: unknown) => {
      throw await diskError(error, 'close', this.path, 0); // network file systems tell of a failed write only here
    });
  }

  async discard(): Promise<void> {
    await this.#writeback;
    if (!this.#closed) await this.#handle.close().catch(() => undefined);
    this.#closed = true;
    if (this.#own) await unlink(this.path).catch(() => undefined); // the error that led here is the one to tell
  }

  #startWriteback(): void {
    this.#writtenBack = this.#written;
    this.#writeback = this.#sync().finally(() => (this.#writeback = undefined));
  }

  /** After a failed fsync the kernel has dropped the pages and calls them clean: a second one would succeed and prove nothing. */
  async #sync(): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      await this.#handle.datasync();
    } catch (error) {
      this.#failure = asError(await diskError(error, 'sync', this.path, 0));
    }
  }
}
