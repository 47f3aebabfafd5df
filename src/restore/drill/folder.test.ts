import { mkdirSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../test/support/processes.ts';
import { removeFolder, temporaryFolder } from '../../../test/support/watchdog.ts';
import { temporaryName } from '../../store/temporary.ts';
import { makeDrillFolder, sweepDrills } from './folder.ts';

const MINUTE = 60_000;

let parent: string;
beforeEach(() => {
  const own = (parent = temporaryFolder('drills'));
  return () => removeFolder(own);
});

/** As a process of another container names it, whose pids mean nothing here. */
function folderOfAnother(ageMs: number): string {
  const name = `warden-4711-12345-00000000-${'0'.repeat(12)}`;
  const path = join(parent, 'drill', name);
  mkdirSync(join(path, 'data'), { recursive: true });
  const then = new Date(Date.now() - ageMs);
  utimesSync(path, then, then);
  return path;
}

function sweep(olderThanMs: number): Promise<readonly string[]> {
  return sweepDrills(parent, { olderThanMs, now: new Date(), signal: new AbortController().signal });
}

describe('a folder of a drill in another container', () => {
  test('stays while its last sign of life is some minutes old, whatever the age of leftovers', async () => {
    folderOfAnother(9 * MINUTE);
    expect(await sweep(1_000)).toEqual([]);
  });

  test('is removed when there was none for so long, and for as long as leftovers are kept', async () => {
    const path = folderOfAnother(30 * MINUTE);
    expect(await sweep(60 * MINUTE)).toEqual([]);
    expect(await sweep(1_000)).toEqual([path]);
    expect(readdirSync(join(parent, 'drill'))).toEqual([]);
  });
});

test('a drill gives signs of life until its folder is removed', async () => {
  const folder = await makeDrillFolder(parent, 0, 5);
  const long = new Date(Date.now() - 60 * MINUTE);
  for (let again = 0; again < 2; again++) {
    utimesSync(folder.path, long, long);
    await until(() => Promise.resolve(Date.now() - statSync(folder.path).mtimeMs < MINUTE), 'no sign of life');
  }
  await folder.remove();
  expect(readdirSync(join(parent, 'drill'))).toEqual([]);
  // Removed again, it is not there again.
  await folder.remove();
});

test('of this machine the process decides: one that lives keeps its folder however old, one that is dead loses it at once', async () => {
  const living = join(parent, 'drill', temporaryName());
  const dead = join(parent, 'drill', temporaryName().replace(/^warden-\d+/, 'warden-2147483646'));
  for (const path of [living, dead]) mkdirSync(path, { recursive: true });
  const long = new Date(0);
  utimesSync(living, long, long);
  expect(await sweep(60 * MINUTE)).toEqual([dead]);
});
