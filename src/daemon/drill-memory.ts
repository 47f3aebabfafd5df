/**
 * What the daemon remembers of drills, as a small file in the state folder. The checks in the stores tell the same, but go with their backups, and the backup that was
 * rehearsed on Sunday may be pruned on Monday. A cache: when it is gone, what the stores still tell counts, and the next drill.
 */
import { join } from 'node:path';
import type { DrillSurvey, SurveyedDrill } from '../jobs/types.ts';
import { memoryFile, type MemoryFile } from './memory-file.ts';
import { drillSurveys } from './results.ts';

const SCHEMA = 1;
/** Some hundred bytes for each store. */
const LONGEST_FILE = 256 * 1024;

export type DrillMemory = ReadonlyMap<string, DrillSurvey>;
export type DrillMemoryFile = MemoryFile<DrillMemory>;

export function drillMemoryFile(stateDir: string, cluster: string): DrillMemoryFile {
  return memoryFile(join(stateDir, 'drills', `${cluster}.json`), {
    empty: new Map(),
    longest: LONGEST_FILE,
    encode: (memory: DrillMemory) => ({ schema: SCHEMA, cluster, stores: [...memory.values()] }),
    decode: ({ schema, cluster: name, stores }) =>
      schema === SCHEMA && name === cluster && Array.isArray(stores)
        ? new Map(drillSurveys(stores).map((entry) => [entry.store, entry]))
        : undefined,
  });
}

/** What both know of one store: the newest drill, the newest that went well, the first backup there ever was. */
export function joined(a: DrillSurvey | undefined, b: DrillSurvey): DrillSurvey {
  return {
    store: b.store,
    firstMs: least(a?.firstMs, b.firstMs),
    last: newer(a?.last, b.last),
    sound: newer(a?.sound, b.sound),
    failed: newer(a?.failed, b.failed),
  };
}

/** Of the same moment the one that was there. */
function newer(a: SurveyedDrill | undefined, b: SurveyedDrill | undefined): SurveyedDrill | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.atMs > a.atMs ? b : a;
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}
