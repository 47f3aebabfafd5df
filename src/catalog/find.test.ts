import { describe, expect, test } from 'vitest';
import { seedBackup, seedCheck } from '../../test/support/backups.ts';
import { LINEAGE_TWO } from '../../test/support/manifests.ts';
import { memoryStore } from '../../test/support/memory-store.ts';
import { IMPORTED_LINEAGE } from '../format/ids.ts';
import { findBackup } from './find.ts';
import { readCatalog } from './read.ts';

const { signal } = new AbortController();
const store = memoryStore('local');
const nine = seedBackup([store], { time: '2026-11-22T09:00:00.000Z', revision: '900' });
const ten = seedBackup([store], { time: '2026-11-22T10:00:00.040Z', revision: '5', lineage: LINEAGE_TWO });
const damaged = seedBackup([store], { time: '2026-11-22T11:00:00.000Z' });
seedCheck([store], { id: damaged.id, kind: 'verify', outcome: 'failed' });
const catalog = await readCatalog([store], 'prod', { signal });

describe('which backup is meant', () => {
  test('an id, or the beginning of one that no other shares', () => {
    expect(findBackup(catalog, nine.id).id).toBe(nine.id);
    expect(findBackup(catalog, '20261122T09').id).toBe(nine.id);
    expect(findBackup(catalog, damaged.id).id).toBe(damaged.id);
  });

  test('an ambiguous beginning names the candidates', () => {
    expect(() => findBackup(catalog, '20261122')).toThrow(
      expect.objectContaining({ code: 'ambiguous', hint: `one of ${nine.id}, ${ten.id}, ${damaged.id}` }),
    );
  });

  test('many candidates are cut short', async () => {
    const many = memoryStore('local');
    for (let minute = 10; minute < 18; minute += 1) seedBackup([many], { time: `2026-11-22T10:${minute}:00.000Z` });
    const crowded = await readCatalog([many], 'prod', { signal });
    expect(() => findBackup(crowded, '2026')).toThrow(expect.objectContaining({ hint: expect.stringMatching(/ and 3 more$/) as string }));
  });

  test('regression: latest is the newest by time, not by revision, and not a damaged one', () => {
    expect(findBackup(catalog, 'latest').id).toBe(ten.id);
  });

  test('latest is none that was imported, unless there is no other; a time may name one', async () => {
    const mixed = memoryStore('local');
    const imported = seedBackup([mixed], { time: '2026-11-22T09:30:00.000Z', lineage: IMPORTED_LINEAGE });
    expect(findBackup(await readCatalog([mixed], 'prod', { signal }), 'latest').id).toBe(imported.id);
    const own = seedBackup([mixed], { time: '2026-11-22T09:00:00.000Z' });
    const both = await readCatalog([mixed], 'prod', { signal });
    expect(findBackup(both, 'latest').id).toBe(own.id);
    expect(findBackup(both, '2026-11-22T10:00').id).toBe(imported.id);
  });

  test.each([
    ['2026-11-22T09:30', nine.id],
    ['2026-11-22 09:30:00', nine.id],
    ['2026-11-22T10:00', ten.id],
    ['2026-11-22T10:00:00', ten.id],
    ['2026-11-22T10:00:00.040', ten.id],
    ['2026-11-22T10:00:00.039Z', nine.id],
    ['2026-11-22T10:00:00.0', nine.id],
    ['2026-11-22T12:00+02:00', ten.id],
    ['2026-11-22', ten.id],
    ['2027-01-01', ten.id],
  ])('%s is the newest that began by then', (reference, id) => {
    expect(findBackup(catalog, reference).id).toBe(id);
  });

  test.each(['', 'newest', '2026-11-22T08:59', '2026-13-01', '20251122T100000123Z-k3f9qa'])('nothing answers %j', (reference) => {
    expect(() => findBackup(catalog, reference)).toThrow(expect.objectContaining({ code: 'nothing-found' }));
  });

  test('a suspect backup is latest only when there is no better one', async () => {
    const doubtful = memoryStore('local');
    const suspect = seedBackup([doubtful], { suspect: 'x' });
    expect(findBackup(await readCatalog([doubtful], 'prod', { signal }), 'latest').id).toBe(suspect.id);
  });

  test('an empty catalog says so, and which stores it could not ask', async () => {
    const [empty, broken] = [memoryStore('local'), memoryStore('s3')];
    broken.fail('list', new Error('timeout'));
    const nothing = await readCatalog([empty, broken], 'prod', { signal });
    expect(() => findBackup(nothing, 'latest')).toThrow(
      expect.objectContaining({ message: 'there is no backup of prod', hint: 'these stores could not be asked: s3 (timeout)' }),
    );
  });
});
