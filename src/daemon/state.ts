/** What the daemon remembers of one cluster's schedule: a cache, since the stores and the record in etcd are the truth. */
import { join } from 'node:path';
import { memoryFile, type MemoryFile } from './memory-file.ts';
import { EMPTY_MEMORY, type Range, type SlotMemory } from './slots.ts';

const SCHEMA = 1;
/** A file of ours is some hundred bytes. */
const LONGEST_FILE = 64 * 1024;

export type StateFile = MemoryFile<SlotMemory>;

export function stateFile(stateDir: string, cluster: string): StateFile {
  return memoryFile(join(stateDir, 'schedule', `${cluster}.json`), {
    empty: EMPTY_MEMORY,
    longest: LONGEST_FILE,
    encode: ({ handled, lastDueMs }: SlotMemory) => ({ schema: SCHEMA, cluster, handled, lastDueMs: lastDueMs ?? null }),
    decode: ({ schema, cluster: name, handled, lastDueMs }) => {
      if (schema !== SCHEMA || name !== cluster || !Array.isArray(handled) || !handled.every(isRange)) return undefined;
      if (lastDueMs !== null && !isTime(lastDueMs)) return undefined;
      return { handled, lastDueMs: lastDueMs ?? undefined, pending: undefined };
    },
  });
}

function isRange(value: unknown): value is Range {
  return Array.isArray(value) && value.length === 2 && isTime(value[0]) && isTime(value[1]) && value[0] <= value[1];
}

/** Within what a Date can hold: croner throws beyond. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 8.64e15;
}
