/**
 * A small file in the state folder that holds what the daemon remembers of one cluster. It is a cache: a file that is gone, torn, foreign or of a newer version
 * is replaced, never a reason not to start.
 */
import { readFile } from 'node:fs/promises';
import { asError } from '../errors.ts';
import { replaceSmallFile } from '../store/local/small-file.ts';

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
    write: (memory) => replaceSmallFile(path, `${JSON.stringify(encode(memory))}\n`, { synced: true }),
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
