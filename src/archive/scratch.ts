/**
 * Scratch files: what does not fit into the bound of memory, on a disk, for as long as one computation lives. They have no name from the moment
 * they are open, so that a crash leaves nothing to sweep and nobody else can open them. Beside an encrypted backup they are encrypted too:
 * plain data must never touch the disk when recipients are set, and free blocks keep what was written to them.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Scratch, ScratchFile } from '../mvcc/scratch.ts';
import { temporaryName } from '../store/temporary.ts';
import { diskError } from './disk-errors.ts';
import { outOfFile } from './file-access.ts';

const CIPHER = 'aes-256-ctr';
const KEY_LENGTH = 32;
/** Bytes that one value of AES's counter covers. */
const BLOCK_LENGTH = 16;

/** Bytes encrypted in one call: its output is a buffer of its own that lies around until it is written. */
const STEP = 2 ** 18;

/** The part of a FileHandle that a scratch file uses; tests put failing disks behind it. */
export type ScratchHandle = Pick<FileHandle, 'read' | 'write' | 'close'>;

export interface ScratchOptions {
  /** Encrypt what is written with a key that exists in this process's memory alone. */
  readonly encrypted: boolean;
}

/**
 * @param folder made (0700) with the first file if it is not there
 * @returns files whose calls throw WardenError `disk-full` (with path, free and needed bytes) and `disk-failed`
 */
export function createScratch(folder: string, options: ScratchOptions): Scratch {
  return {
    async create() {
      const path = join(folder, temporaryName());
      const handle = await openUnnamed(folder, path);
      return scratchOver(handle, path, options);
    },
  };
}

/** A scratch file over a handle that is open already. @param path for errors */
export function scratchOver(handle: ScratchHandle, path: string, { encrypted }: ScratchOptions): ScratchFile {
  return new OpenScratch(handle, path, encrypted ? randomBytes(KEY_LENGTH) : undefined);
}

class OpenScratch implements ScratchFile {
  readonly #handle: ScratchHandle;
  readonly #path: string;
  readonly #key: Buffer | undefined;
  #size = 0;

  constructor(handle: ScratchHandle, path: string, key: Buffer | undefined) {
    this.#handle = handle;
    this.#path = path;
    this.#key = key;
  }

  get size(): number {
    return this.#size;
  }

  async append(bytes: Buffer): Promise<void> {
    if (this.#key === undefined) return this.#write(bytes, bytes.length);
    for (let at = 0; at < bytes.length; at += STEP) {
      const cipher = createCipheriv(CIPHER, this.#key, counterAt(this.#size));
      cipher.update(Buffer.alloc(this.#size % BLOCK_LENGTH)); // up to where the last append ended inside a block
      const sealed = cipher.update(bytes.subarray(at, at + STEP));
      await this.#write(sealed, bytes.length - at);
      release(sealed);
    }
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (offset < 0 || length < 0 || offset + length > this.#size) throw outOfFile('a scratch file', this.#size, offset, length);
    const bytes = Buffer.allocUnsafeSlow(length);
    for (let at = 0; at < length;) {
      const { bytesRead } = await this.#handle.read(bytes, at, length - at, offset + at).catch(async (error: unknown) => {
        throw await diskError(error, 'read', this.#path, 0);
      });
      if (bytesRead === 0) throw outOfFile('a scratch file', offset + at, offset, length);
      at += bytesRead;
    }
    if (this.#key === undefined) return bytes;
    const decipher = createDecipheriv(CIPHER, this.#key, counterAt(offset));
    decipher.update(Buffer.alloc(offset % BLOCK_LENGTH));
    const plain = decipher.update(bytes);
    release(bytes);
    return plain;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** @param ahead bytes that are still to be written with these, for the error */
  async #write(bytes: Buffer, ahead: number): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      // A disk that fills up takes a part first, and says ENOSPC only then.
      const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at, this.#size).catch(async (error: unknown) => {
        throw await diskError(error, 'write', this.#path, ahead - at);
      });
      at += bytesWritten;
      this.#size += bytesWritten;
    }
  }
}

async function openUnnamed(folder: string, path: string): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    // O_EXCL and O_NOFOLLOW: nobody who can write to the folder can point us at another file.
    handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    await unlink(path);
    return handle;
  } catch (error) {
    await handle?.close();
    throw await diskError(error, 'create', path, 0);
  }
}

/** CTR mode: the counter of a block is its number, so that any place can be read alone. The key is used for one file, each place is written once. */
function counterAt(offset: number): Buffer {
  const counter = Buffer.alloc(BLOCK_LENGTH);
  counter.writeBigUInt64BE(BigInt(Math.floor(offset / BLOCK_LENGTH)), 8);
  return counter;
}

/** Gives memory back now: each call of OpenSSL answers in an ArrayBuffer of its own, and the collector looks for them late. */
function release(buffer: Buffer): void {
  if (buffer.buffer instanceof ArrayBuffer && buffer.length === buffer.buffer.byteLength) buffer.buffer.transfer(0);
}
