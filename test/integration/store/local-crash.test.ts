import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { CrashPoint } from '../../../src/crash-points.ts';
import { openLocalStore } from '../../../src/store/local/store.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { carryOutHere, contentOf, type Order } from './child.ts';
import { crashAt } from './run-child.ts';

const POINTS = [
  'open-tmp',
  'first-byte',
  'mid',
  'before-fsync',
  'after-fsync',
  'before-rename',
  'after-rename',
  'before-dir-fsync',
  'after-dir-fsync',
] as const;
const VISIBLE_FROM = POINTS.indexOf('after-rename');
const BYTES = 3_000_000;
const { signal } = new AbortController();

describe('fault 18: a local store whose process is killed', () => {
  const ways = {
    put: { how: 'put', points: POINTS.filter((point) => point !== 'first-byte' && point !== 'mid') },
    'upload by hard link': { how: 'upload', points: POINTS.filter((point) => point !== 'open-tmp') },
    'upload by copy': { how: 'upload', points: [...POINTS] },
  } as const;

  for (const [way, { how, points }] of Object.entries(ways)) {
    test.each(points)(`at %s of ${way}: the whole object or none, and the sweep takes the rest`, async (point: CrashPoint) => {
      const folder = temporaryFolder('crash');
      onTestFinished(() => removeFolder(folder));
      const spool = join(folder, 'spool');
      mkdirSync(spool);
      const path = join(folder, 'store');
      const order: Order = {
        store: { type: 'local', name: 'local', path },
        how,
        key: 'prod/object',
        bytes: BYTES,
        ...(way === 'upload by copy' ? { spoolFolder: spool } : {}),
      };
      expect(crashAt(point, order)).toBe(true);

      const store = openLocalStore({ type: 'local', name: 'local', path });
      const visible = POINTS.indexOf(point as (typeof POINTS)[number]) >= VISIBLE_FROM;
      const found = await store.head(order.key, { signal });
      expect(found === undefined).toBe(!visible);
      if (visible) expect((await store.get(order.key, { signal })).equals(contentOf(BYTES))).toBe(true);

      // No age is needed: the writer is certainly dead.
      const { removed } = await store.sweep({ signal, olderThanMs: 3_600_000, now: new Date() });
      expect(removed).toHaveLength(1);
      expect(readdirSync(join(path, '.tmp'))).toEqual([]);
      expect(existsSync(join(path, order.key))).toBe(visible);
      expect(await carryOutHere(order)).toMatchObject(visible ? { ok: false, code: 'object-exists' } : { ok: true });
      expect((await store.get(order.key, { signal })).equals(contentOf(BYTES))).toBe(true);
    });
  }
});
