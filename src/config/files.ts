/** The few questions that loading asks of the file system; tests answer them from memory. */
import { readFileSync, statSync } from 'node:fs';

export interface FileAccess {
  /** @throws the error of node:fs. */
  read(path: string): string;
  /** Undefined when nothing is there or it cannot be looked at. */
  stat(path: string): FileFacts | undefined;
}

export interface FileFacts {
  /** `stream`: a pipe or device, such as the `/dev/fd/63` of a shell's `<(pass show etcd)`. It can be read once. */
  readonly kind: 'file' | 'folder' | 'stream';
  /** Permission bits. */
  readonly mode: number;
}

/** Nothing that is read here is long: what is longer was named by mistake, and a device would never end. */
const LONGEST_FILE = 1024 * 1024;

export const realFiles: FileAccess = {
  read(path) {
    const { size } = statSync(path);
    if (size > LONGEST_FILE) throw new Error(`it has ${size} bytes, more than a configuration or secret ever needs`);
    return readFileSync(path, 'utf8');
  },
  stat(path) {
    try {
      const stat = statSync(path);
      return { kind: stat.isDirectory() ? 'folder' : stat.isFile() ? 'file' : 'stream', mode: stat.mode & 0o7777 };
    } catch {
      return undefined;
    }
  },
};

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'it may not be read by this user',
  EPERM: 'it may not be read by this user',
  EISDIR: 'it is a folder',
};

/** Why a file could not be read, in words. */
export function readFailure(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code === undefined ? undefined : REASONS[code]) ?? message;
}
