/**
 * What the daemon remembers of one cluster's schedule, as a small file in the state folder. It is a cache: the stores and the record in etcd
 * are the truth, and a file that is gone, torn, foreign or of a newer version is replaced, never a reason not to start.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asError } from '../errors.ts';
import { EMPTY_MEMORY, type Range, type SlotMemory } from './slots.ts';

const SCHEMA = 1;
/** A file of ours is some hundred bytes; a longer one is not ours. */
const LONGEST_FILE = 64 * 1024;

export interface StateFile {
  /** @returns the memory, and why it starts empty when a file was there but could not be used */
  read(): Promise<{ memory: SlotMemory; rebuilt: string | undefined }>;
  /** @throws whatever the file system says; the caller logs it and goes on */
  write(memory: SlotMemory): Promise<void>;
}

export function stateFile(stateDir: string, cluster: string): StateFile {
  const folder = join(stateDir, 'schedule');
  const path = join(folder, `${cluster}.json`);
  return {
    async read() {
      let text: string;
      try {
        text = await readFile(path, 'utf8');
      } catch (error) {
        const gone = (error as NodeJS.ErrnoException).code === 'ENOENT';
        return { memory: EMPTY_MEMORY, rebuilt: gone ? undefined : `${path} cannot be read: ${asError(error).message}` };
      }
      const memory = text.length > LONGEST_FILE ? undefined : parse(text, cluster);
      return memory === undefined
        ? { memory: EMPTY_MEMORY, rebuilt: `${path} is damaged or of another version` }
        : { memory, rebuilt: undefined };
    },
    async write(memory) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const next = `${path}.next`;
      const file = await open(next, 'w', 0o600);
      try {
        await file.writeFile(
          `${JSON.stringify({ schema: SCHEMA, cluster, handled: memory.handled, lastDueMs: memory.lastDueMs ?? null })}\n`,
        );
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

function parse(text: string, cluster: string): SlotMemory | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { schema, cluster: name, handled, lastDueMs } = value as Record<string, unknown>;
  if (schema !== SCHEMA || name !== cluster || !Array.isArray(handled) || !handled.every(isRange)) return undefined;
  if (lastDueMs !== null && !isTime(lastDueMs)) return undefined;
  return { handled, lastDueMs: lastDueMs ?? undefined, pending: undefined };
}

function isRange(value: unknown): value is Range {
  return Array.isArray(value) && value.length === 2 && isTime(value[0]) && isTime(value[1]) && value[0] <= value[1];
}

/** Within what a Date can hold: croner throws beyond. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 8.64e15;
}
