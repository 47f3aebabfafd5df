import { describe, expect, test } from 'vitest';
import { seedBackup, seedCheck } from '../../../test/support/backups.ts';
import { LINEAGE_TWO, type ManifestFields } from '../../../test/support/manifests.ts';
import { memoryStore } from '../../../test/support/memory-store.ts';
import { readCatalog } from '../../catalog/read.ts';
import type { Catalog } from '../../catalog/types.ts';
import { WardenError } from '../../errors.ts';
import { IMPORTED_LINEAGE } from '../../format/ids.ts';
import type { Check, Manifest } from '../../format/types.ts';
import { chooseBackup, offerOlder, type Chosen, type SourceWish } from './choose.ts';

const { signal } = new AbortController();
const NOW = new Date('2026-11-22T20:30:00.000Z');
const at = (hour: number): string => `2026-11-22T${String(hour).padStart(2, '0')}:00:02.000Z`;

interface World {
  readonly catalog: Catalog;
  readonly backups: readonly Manifest[];
  choose(wish: SourceWish): Chosen;
}

/** Backups of these fields, oldest first, each with a check of these if any. */
async function world(...all: readonly (ManifestFields & { readonly check?: Partial<Check> & Pick<Check, 'kind'> })[]): Promise<World> {
  const store = memoryStore('local');
  const backups = all.map(({ check, ...fields }) => {
    const manifest = seedBackup([store], fields);
    if (check !== undefined) seedCheck([store], { id: manifest.id, ...check });
    return manifest;
  });
  const catalog = await readCatalog([store], 'prod', { signal });
  return { catalog, backups, choose: (wish) => chooseBackup(catalog, wish, NOW) };
}

const failed = { kind: 'verify', outcome: 'failed', reason: 'page 7 is torn' } as const;
const eight = { time: at(8), compactRevision: '100', revision: '800' };
const nine = { time: at(9), compactRevision: '500', revision: '900' };
const ten = { time: at(10), compactRevision: '950', revision: '1000' };

describe('what a restore starts from', () => {
  test('--latest and `latest` are the newest that was verified, and say what was passed over', async () => {
    const { choose, backups } = await world(eight, nine, { ...ten, check: failed }, { time: at(11), suspect: 'CORRUPT was armed' });
    for (const wish of [{ latest: true }, { reference: 'latest' }]) {
      const chosen = choose(wish);
      expect(chosen.backup.id).toBe(backups[1]!.id);
      expect(chosen.notes).toEqual([
        `${backups[2]!.id} is newer and was passed over: its verification failed: page 7 is torn`,
        `${backups[3]!.id} is newer and was passed over: it is suspect: CORRUPT was armed`,
      ]);
      expect(offerOlder(chosen.older)).toBe(`older ones: \`etcd-warden restore ${backups[0]!.id}\` (${at(8)}, revision 800)`);
    }
  });

  test('regression: an empty store is nothing to restore, by whatever way it is asked for', async () => {
    const { choose } = await world();
    for (const wish of [{ latest: true }, { reference: 'latest' }, { at: '2026-11-22' }, { revision: 5n }, { reference: '20261122' }])
      expect(() => choose(wish)).toThrow(expect.objectContaining({ code: 'nothing-found' }));
  });

  test('where nothing is verified the newest whole one is named, not taken', async () => {
    const { choose, backups } = await world(eight, { ...nine, check: failed });
    const { choose: alone } = await world({ ...nine, check: failed });
    expect(choose({ latest: true }).backup.id).toBe(backups[0]!.id);
    expect(() => alone({ latest: true })).toThrow(
      expect.objectContaining({
        code: 'nothing-found',
        hint: expect.stringContaining('its verification failed: page 7 is torn') as string,
      }),
    );
  });

  test('an imported one is taken only when it is named', async () => {
    const { choose, backups } = await world(eight, { ...nine, lineage: IMPORTED_LINEAGE });
    expect(choose({ latest: true }).backup.id).toBe(backups[0]!.id);
    expect(choose({ at: '2026-11-22T12:00' }).backup.id).toBe(backups[0]!.id);
    const named = choose({ reference: backups[1]!.id });
    expect(named).toMatchObject({
      backup: { id: backups[1]!.id },
      notes: [`${backups[1]!.id} is taken because it was named: it was imported`],
    });
  });

  test('one of an earlier generation is said to be', async () => {
    const { choose, backups } = await world(eight, { ...nine, lineage: LINEAGE_TWO });
    expect(choose({ reference: backups[0]!.id }).notes).toEqual([
      `${backups[0]!.id} is of an earlier generation of this cluster than ${backups[1]!.id}, the newest backup`,
    ]);
  });

  test('it must be said what, and in one way', async () => {
    const { choose } = await world(eight);
    for (const wish of [{}, { reference: '2026', latest: true }, { latest: true, at: '2026-11-22' }])
      expect(() => choose(wish)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test('stores that could not be asked are named', async () => {
    const { catalog } = await world(eight);
    const unreachable = [{ store: 's3', error: new WardenError('store-unavailable', 'no route') }];
    expect(chooseBackup({ ...catalog, unreachable }, { latest: true }, NOW).notes).toEqual([
      's3 could not be asked and may hold newer backups: no route',
    ]);
    expect(() => chooseBackup({ ...catalog, backups: [], unreachable }, { latest: true }, NOW)).toThrow(
      expect.objectContaining({ hint: 'these stores could not be asked: s3 (no route)' }),
    );
  });
});

describe('a time', () => {
  test('picks the newest not after it, and says how far that is', async () => {
    const { choose, backups } = await world(eight, nine, ten);
    const chosen = choose({ at: '2026-11-22T09:40' });
    expect(chosen.backup.id).toBe(backups[1]!.id);
    expect(chosen.asked).toEqual({ time: '2026-11-22T09:40:00.000Z', gapMs: 39 * 60_000 + 58_000 });
    expect(chosen.notes[0]).toContain(`${backups[1]!.id} was begun 39m58s before 2026-11-22T09:40:00.000Z`);
    expect(choose({ reference: '2026-11-22T09:40' })).toEqual(chosen);
  });

  test('a backup that was begun in that very minute counts, with no gap', async () => {
    const { choose, backups } = await world(eight, nine);
    expect(choose({ at: '2026-11-22T09:00' })).toMatchObject({ backup: { id: backups[1]!.id }, asked: { gapMs: 0 } });
  });

  test('a later backup that holds the history between is offered', async () => {
    const { choose, backups } = await world(eight, nine, ten);
    expect(choose({ at: '2026-11-22T08:30' }).notes[1]).toBe(
      `${backups[1]!.id} holds every revision from 800 to 900: \`etcd-warden restore ${backups[1]!.id} --revision N\` takes what was written in between up to N`,
    );
    // 950 is compacted in that of ten o'clock.
    expect(choose({ at: '2026-11-22T09:30' }).notes).toHaveLength(1);
  });

  test('before the first backup, says when that was', async () => {
    const { choose, backups } = await world(eight);
    expect(() => choose({ at: '2026-11-22T07:59' })).toThrow(
      expect.objectContaining({
        code: 'nothing-found',
        message: expect.stringContaining(at(8)),
        hint: expect.stringContaining(backups[0]!.id) as string,
      }),
    );
  });

  test('in the future, is now, and says so; a day that is not over is no future', async () => {
    const { choose } = await world(eight);
    const ahead = choose({ at: '2026-11-23T10:00' });
    expect(ahead.notes[0]).toBe('2026-11-23T10:00 lies in the future: the newest backup is taken');
    expect(ahead.asked?.time).toBe(NOW.toISOString());
    expect(choose({ at: '2026-11-22' })).toMatchObject({
      asked: { time: NOW.toISOString() },
      notes: [expect.stringContaining('was begun')],
    });
  });

  test('that is none is a mistake', async () => {
    const { choose } = await world(eight);
    expect(() => choose({ at: 'yesterday' })).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('a revision', () => {
  test('is looked for in the newest verified backup that holds it', async () => {
    const { choose, backups } = await world(eight, nine, ten);
    expect(choose({ revision: 700n })).toMatchObject({ backup: { id: backups[1]!.id }, revision: 700n });
    expect(choose({ revision: 500n }).backup.id).toBe(backups[1]!.id);
    expect(choose({ revision: 499n }).backup.id).toBe(backups[0]!.id);
    expect(choose({ revision: 800n, reference: backups[1]!.id }).revision).toBe(800n);
  });

  test('the last one of a backup is the same as none, so that both make one cluster', async () => {
    const { choose } = await world(eight);
    expect(choose({ revision: 800n }).revision).toBeUndefined();
  });

  test('that none holds is refused with the ranges that are held', async () => {
    const { choose, backups } = await world(eight, nine, ten);
    expect(() => choose({ revision: 99n })).toThrow(
      expect.objectContaining({ code: 'revision-compacted', hint: 'they hold 100 to 900, 950 to 1000' }),
    );
    expect(() => choose({ revision: 2000n })).toThrow(expect.objectContaining({ code: 'revision-future' }));
    expect(() => choose({ reference: backups[2]!.id, revision: 940n })).toThrow(
      expect.objectContaining({ code: 'revision-compacted', hint: expect.stringContaining('holds revisions 950 to 1000') as string }),
    );
    expect(() => choose({ latest: true, revision: 1001n })).toThrow(expect.objectContaining({ code: 'revision-future' }));
  });

  test('that only a doubtful one holds names that one', async () => {
    const { choose, backups } = await world({ ...eight, suspect: 'CORRUPT was armed' }, ten);
    expect(() => choose({ revision: 200n })).toThrow(
      expect.objectContaining({
        hint: `${backups[0]!.id} holds it (it is suspect: CORRUPT was armed): etcd-warden restore ${backups[0]!.id} --revision 200`,
      }),
    );
  });

  test('that two generations hold is taken from the newer, and the other one is named', async () => {
    const { choose, backups } = await world(eight, { ...nine, lineage: LINEAGE_TWO });
    const chosen = choose({ revision: 700n });
    expect(chosen.backup.id).toBe(backups[1]!.id);
    expect(chosen.notes[0]).toContain(`revision 700 is also in ${backups[0]!.id}`);
  });

  test('of a history that was never compacted reaches down to the empty store', async () => {
    const { choose, backups } = await world({ time: at(8), compactRevision: '0', revision: '5' });
    expect(choose({ revision: 1n })).toMatchObject({ backup: { id: backups[0]!.id }, revision: 1n });
  });
});
