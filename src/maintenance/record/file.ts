/** The record as a file in the state folder: what is left of it while NOSPACE lets nobody write to etcd. A cache, like everything there. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceSmallFile } from '../../store/local/small-file.ts';
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
  const path = join(stateDir, 'maintenance', `${cluster}.json`);
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
    write: (text) => replaceSmallFile(path, text, { synced: true }),
  };
}
