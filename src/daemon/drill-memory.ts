/**
 * What the daemon remembers of drills, as a small file in the state folder. The checks in the stores tell the same, but go with their backups, and the backup that was
 * rehearsed on Sunday may be pruned on Monday. A cache: when it is gone, what the stores still tell counts, and the next drill.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asError } from '../errors.ts';
import type { DrillSurvey, SurveyedDrill } from '../jobs/types.ts';
import { drillSurveys } from './results.ts';

const SCHEMA = 1;
/** Some hundred bytes for each store; a longer one is not ours. */
const LONGEST_FILE = 256 * 1024;

export type DrillMemory = ReadonlyMap<string, DrillSurvey>;

export interface DrillMemoryFile {
  /** @returns the memory, and why it starts empty when a file was there but could not be used */
  read(): Promise<{ readonly memory: DrillMemory; readonly rebuilt: string | undefined }>;
  /** @throws whatever the file system says; the caller logs it and goes on */
  write(memory: DrillMemory): Promise<void>;
}

export function drillMemoryFile(stateDir: string, cluster: string): DrillMemoryFile {
  const folder = join(stateDir, 'drills');
  const path = join(folder, `${cluster}.json`);
  return {
    async read() {
      try {
        const text = await readFile(path, 'utf8');
        const memory = text.length > LONGEST_FILE ? undefined : parse(text, cluster);
        if (memory !== undefined) return { memory, rebuilt: undefined };
        return { memory: new Map(), rebuilt: `${path} is damaged or of another version` };
      } catch (error) {
        const gone = (error as NodeJS.ErrnoException).code === 'ENOENT';
        return { memory: new Map(), rebuilt: gone ? undefined : `${path} cannot be read: ${asError(error).message}` };
      }
    },
    async write(memory) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const next = `${path}.next`;
      const file = await open(next, 'w', 0o600);
      try {
        await file.writeFile(`${JSON.stringify({ schema: SCHEMA, cluster, stores: [...memory.values()] })}\n`);
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

function parse(text: string, cluster: string): DrillMemory | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { schema, cluster: name, stores } = value as Record<string, unknown>;
  if (schema !== SCHEMA || name !== cluster || !Array.isArray(stores)) return undefined;
  return new Map(drillSurveys(stores).map((entry) => [entry.store, entry]));
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
