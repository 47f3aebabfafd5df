/**
 * A small file in the state folder that holds what the daemon remembers of one cluster. It is a cache: a file that is gone, torn, foreign or of a newer version
 * is replaced, never a reason not to start.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asError } from '../errors.ts';

export interface MemoryFile<T> {
  /** @returns the memory, and why it starts empty when a file was there but could not be used */
  read(): Promise<{ readonly memory: T; readonly rebuilt: string | undefined }>;
  /** @throws whatever the file system says; the caller logs it and goes on */
  write(memory: T): Promise<void>;
}

export interface MemoryCodec<T> {
  readonly empty: T;
  /** Characters; a longer file is not ours. */
  readonly longest: number;
  readonly encode: (memory: T) => object;
  /** @returns undefined for what is not of this version */
  readonly decode: (value: Readonly<Record<string, unknown>>) => T | undefined;
}

export function memoryFile<T>(path: string, { empty, longest, encode, decode }: MemoryCodec<T>): MemoryFile<T> {
  return {
    async read() {
      let text: string;
      try {
        text = await readFile(path, 'utf8');
      } catch (error) {
        const gone = (error as NodeJS.ErrnoException).code === 'ENOENT';
        return { memory: empty, rebuilt: gone ? undefined : `${path} cannot be read: ${asError(error).message}` };
      }
      const value = text.length > longest ? undefined : parse(text);
      const memory = value === undefined ? undefined : decode(value);
      return memory === undefined ? { memory: empty, rebuilt: `${path} is damaged or of another version` } : { memory, rebuilt: undefined };
    },
    async write(memory) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const next = `${path}.next`;
      const file = await open(next, 'w', 0o600);
      try {
        await file.writeFile(`${JSON.stringify(encode(memory))}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      try {
        await rename(next, path);
      } catch (error) {
        await rm(next, { force: true });
        throw error;
      }
    },
  };
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
