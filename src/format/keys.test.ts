import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededBytes } from '../../test/support/manifests.ts';
import {
  ACCEPTANCE_KINDS,
  acceptanceKey,
  backupPrefix,
  CHECK_KINDS,
  checkKey,
  checksPrefix,
  clusterPrefix,
  dataKey,
  indexKey,
  isDecimal,
  manifestKey,
  parseKey,
} from './keys.ts';

const id = '20261122T100000123Z-k3f9qa';
const time = new Date('2026-11-22T11:00:00.000Z');
const timeMs = time.getTime();
const random = seededBytes(1);

describe('names of objects', () => {
  test('every name that we give is understood again', () => {
    expect(parseKey(dataKey('prod', id, 'none'))).toEqual({ type: 'data', cluster: 'prod', id, encryption: 'none' });
    expect(parseKey(dataKey('prod', id, 'age'))).toEqual({ type: 'data', cluster: 'prod', id, encryption: 'age' });
    expect(parseKey(indexKey('prod', id, 'none'))).toEqual({ type: 'index', cluster: 'prod', id, encryption: 'none' });
    expect(parseKey(indexKey('prod', id, 'age'))).toEqual({ type: 'index', cluster: 'prod', id, encryption: 'age' });
    expect(parseKey(manifestKey('prod', id, '41'))).toEqual({ type: 'manifest', cluster: 'prod', id, revision: '41' });
    for (const kind of CHECK_KINDS)
      expect(parseKey(checkKey('prod', id, time, kind, random))).toEqual({ type: 'check', cluster: 'prod', id, timeMs, kind });
    for (const kind of ACCEPTANCE_KINDS)
      expect(parseKey(acceptanceKey('prod', time, kind, random))).toEqual({ type: 'acceptance', cluster: 'prod', timeMs, kind });
    expect(parseKey('prod/changes/anything/below')).toEqual({ type: 'changes', cluster: 'prod' });
  });

  test('a check without a random part is understood as well', () => {
    expect(parseKey(`prod/checks/${id}/20261122T110000000Z-hold.json`)).toEqual({
      type: 'check',
      cluster: 'prod',
      id,
      timeMs,
      kind: 'hold',
    });
  });

  test('two checks of the same kind and millisecond get two names', () => {
    expect(checkKey('prod', id, time, 'verify', random)).not.toBe(checkKey('prod', id, time, 'verify', random));
  });

  test('all of a backup lies under its prefixes, and nothing of its neighbour', () => {
    expect(dataKey('prod', id, 'age').startsWith(backupPrefix('prod', id))).toBe(true);
    expect(manifestKey('prod', id, '1').startsWith(backupPrefix('prod', id))).toBe(true);
    expect(checkKey('prod', id, time, 'hold', random).startsWith(checksPrefix('prod', id))).toBe(true);
    expect(dataKey('prod-2', id, 'none').startsWith(clusterPrefix('prod'))).toBe(false);
  });

  test.each([
    '',
    '/',
    'prod',
    'prod/',
    'prod/README.md',
    'prod/checks',
    'prod/changes',
    `${id}.db.zst`,
    `Prod/${id}.db.zst`,
    `../${id}.db.zst`,
    `prod//${id}.db.zst`,
    `prod/sub/${id}.db.zst`,
    `prod/${id}`,
    `prod/${id}.db`,
    `prod/${id}.db.zst.gpg`,
    `prod/${id}.db.zst.age.tmp`,
    `prod/${id}.r41.json.tmp`,
    `prod/${id}.r041.json`,
    `prod/${id}.r9223372036854775808.json`,
    `prod/${id}.r-1.json`,
    `prod/20260231T100000123Z-k3f9qa.db.zst`,
    `prod/checks/${id}/20261122T110000000Z-hold.txt`,
    `prod/checks/${id}/20261122T110000000Z-accept.json`,
    `prod/checks/${id}/20261122T110000000Z-hold-x.json`,
    `prod/checks/${id}/20261122T250000000Z-hold.json`,
    `prod/checks/other/20261122T110000000Z-hold.json`,
    `prod/checks/generations/20261122T110000000Z-hold.json`,
    `prod/checks/${id}/deep/20261122T110000000Z-hold.json`,
    'etcd-backup-2021-01-01.db',
  ])('%s is foreign', (key) => {
    expect(parseKey(key)).toBeUndefined();
  });

  test('whatever a name is, it is either foreign or given back the same by our own functions', () => {
    const piece = fc.constantFrom(
      'prod',
      '/',
      id,
      '.db.zst',
      '.age',
      '.index.zst',
      '.r',
      '41',
      '.json',
      'checks',
      '-hold',
      '20261122T110000000Z',
      '..',
      'é',
      '0',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const key = pieces.join('');
        const parsed = parseKey(key);
        if (parsed?.type === 'data') expect(dataKey(parsed.cluster, parsed.id, parsed.encryption)).toBe(key);
        if (parsed?.type === 'index') expect(indexKey(parsed.cluster, parsed.id, parsed.encryption)).toBe(key);
        if (parsed?.type === 'manifest') expect(manifestKey(parsed.cluster, parsed.id, parsed.revision)).toBe(key);
      }),
      { numRuns: 2000 },
    );
  });

  test('decimals are int64, not negative, spelled one way', () => {
    expect(['0', '1', '9223372036854775807'].map(isDecimal)).toEqual([true, true, true]);
    expect(['', '00', '-1', '1e3', '9223372036854775808', '99999999999999999999'].map(isDecimal)).toEqual(Array(6).fill(false));
  });
});
