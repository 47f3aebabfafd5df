import { describe, expect, test } from 'vitest';
import { sampleManifest } from '../../../test/support/manifests.ts';
import type { Backup, Catalog, Copy } from '../../catalog/types.ts';
import { WardenError } from '../../errors.ts';
import { age, BACKUP_COLUMNS, catalogRemarks, type BackupRow } from './backups.ts';

const good: Copy = { store: 'local', manifest: 'present', data: 'present', check: undefined, soundMs: {}, verified: true };

function backup(fields: Partial<Backup> = {}): Backup {
  const manifest = sampleManifest({ stores: ['local', 's3'] });
  return {
    id: manifest.id,
    cluster: 'prod',
    timeMs: Date.parse(manifest.time),
    manifest,
    copies: [good, { ...good, store: 's3' }],
    state: 'complete',
    unasked: [],
    drills: [],
    held: undefined,
    suspect: undefined,
    proof: undefined,
    ...fields,
  };
}

function cell(title: string, fields: Partial<Backup>, row: Partial<BackupRow> = {}): string | undefined {
  const whole = { backup: backup(fields), generation: undefined, retention: '', nowMs: 0, unreachable: [], ...row };
  return BACKUP_COLUMNS.find((column) => column.title === title)?.value(whole);
}

const check = (outcome: 'ok' | 'failed', level: 'stored' | 'content'): Copy['check'] => ({
  schema: 1,
  kind: 'verify',
  id: 'x',
  time: '2026-11-22T11:00:00.000Z',
  tool: 'etcd-warden',
  outcome,
  level,
});

describe('a row of list', () => {
  test('a verdict that is the same on every store is said once, else store by store', () => {
    expect(cell('VERIFIED', {})).toBe('content');
    expect(cell('VERIFIED', { copies: [good, { ...good, store: 's3', check: check('ok', 'stored') }] })).toBe('local:content s3:stored');
    const proof = { revision: '41', compactRevision: '-1', hash: 6, members: ['m2'] };
    expect(cell('VERIFIED', { proof })).toBe('proved');
    expect(cell('VERIFIED', { proof, copies: [{ ...good, check: check('ok', 'stored') }] })).toBe('stored');
    expect(cell('VERIFIED', { copies: [{ ...good, check: check('failed', 'stored'), verified: false }] })).toBe('FAILED');
    expect(cell('VERIFIED', { copies: [{ ...good, verified: false }] })).toBe('no');
    expect(cell('VERIFIED', { copies: [] })).toBe('no');
  });

  test('of each intended store it says whether the copy is there, and never guesses', () => {
    expect(cell('STORES', {})).toBe('local s3');
    expect(cell('STORES', { copies: [good] })).toBe('local s3(missing)');
    expect(cell('STORES', { copies: [good], unasked: ['s3'] })).toBe('local s3(not asked)');
    expect(cell('STORES', { copies: [good] }, { unreachable: ['s3'] })).toBe('local s3(no answer)');
    expect(cell('STORES', { copies: [good, { ...good, store: 's3', data: 'wrong-size' }] })).toBe('local s3(missing)');
  });

  test('a hold shows its reason, and without one that there is a hold', () => {
    expect(cell('LABEL', { held: 'audit' })).toBe('held: audit');
    expect(cell('LABEL', { held: '' })).toBe('held');
  });

  test('an age has two units at most, and one from the future says so', () => {
    expect(age(3 * 86_400_000 + 5 * 3_600_000 + 7000)).toBe('3d5h');
    expect(age(-60_000)).toBe('in 1m');
  });
});

describe('remarks', () => {
  const empty: Catalog = { cluster: 'prod', backups: [], generations: [], acceptances: [], oddities: [], unreachable: [] };

  test('there are none when all is well', () => {
    expect(catalogRemarks(empty)).toEqual([]);
  });

  test('stores that do not answer, objects that are not ours and generations that nobody accepted are named, with what to do', () => {
    const generation = { lineage: 'abc', clusterId: 'c1', firstId: 'id1', accepted: true, released: false };
    const remarks = catalogRemarks({
      ...empty,
      generations: [generation, { ...generation, lineage: 'def', accepted: false }],
      oddities: [{ store: 's3', key: 'prod/x', kind: 'foreign', detail: 'not a name of ours', modified: new Date(0) }],
      unreachable: [{ store: 'nfs', error: new WardenError('store-unavailable', 'no route') }],
    });
    expect(remarks).toEqual([
      'store nfs could not be listed: no route',
      's3: prod/x: foreign (not a name of ours)',
      'generation 2 (def, cluster c1, since id1) is not accepted, so nothing is pruned; if it is the right one: etcd-warden accept-cluster --cluster prod',
    ]);
  });
});
