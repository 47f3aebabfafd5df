/** The record as a file in the state folder: what is left of it while NOSPACE lets nobody write to etcd. A cache, like everything there. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LONGEST_RECORD } from './codec.ts';

export interface RecordFile {
  readonly path: string;
  /** Undefined when there is none; cut off behind what a record may have. @throws whatever the file system says */
  read(): Promise<string | undefined>;
  /** Atomically: a crash leaves the old one or the new one. @throws whatever the file system says */
  write(text: string): Promise<void>;
}

/** @param cluster its name, which is safe as a file name by its own rule */
export function recordFile(stateDir: string, cluster: string): RecordFile {
  const folder = join(stateDir, 'maintenance');
  const path = join(folder, `${cluster}.json`);
  return {
    path,
    async read() {
      const file = await open(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (file === undefined) return undefined;
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(LONGEST_RECORD + 1), 0, LONGEST_RECORD + 1, 0);
        return buffer.toString('utf8', 0, bytesRead);
      } finally {
        await file.close();
      }
    },
    async write(text) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // By process: a verb may run beside the daemon.
      const next = `${path}.${process.pid}.next`;
      try {
        const file = await open(next, 'w', 0o600);
        try {
          await file.writeFile(text);
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(next, path);
      } catch (error) {
        await rm(next, { force: true });
        throw error;
      }
    },
  };
}
