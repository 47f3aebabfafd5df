import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sampleAcceptance, sampleCheck, sampleManifest, sampleRestore } from '../../test/support/manifests.ts';
import { ACCEPTANCE_FIELDS, CHECK_FIELDS } from './facts.ts';
import { decodeManifest, encodeManifest, MANIFEST_FIELDS, MANIFEST_MAX_BYTES } from './manifest.ts';
import { encodeRestoreRecord, RESTORE_RECORD_FIELDS, RESTORE_RECORD_MAX_BYTES, type RestoreRecord } from './restore-record.ts';
import { TEXT_LENGTH } from './shape.ts';
import type { Acceptance, Check, Manifest } from './types.ts';

const page = readFileSync(new URL('../../docs/formats.md', import.meta.url), 'utf8');

/** Every field there is; the types make sure that none is forgotten here. */
const fullManifest: Required<Manifest> = {
  ...(sampleManifest() as Required<Manifest>),
  label: 'x',
  parent: '20261122T090000000Z-aaaaaa',
  keyCount: 1,
  proof: { revision: '1', compactRevision: '1', hash: 1, members: ['m1'], tookMs: 1, bytes: 1 },
  unproved: { code: 'x', reason: 'x' },
  disagreement: { members: ['m2'], reason: 'x' },
  warnings: [{ code: 'x', message: 'x' }],
  imported: { name: 'x', sha256: 'd'.repeat(64), modified: '2026-11-22T10:00:00.123Z', members: 1 },
  suspect: 'x',
  signature: 'x',
};
const fullCheck = {
  ...sampleCheck({ id: fullManifest.id, kind: 'verify' }),
  proof: fullManifest.proof,
  drill: { level: 'offline' },
  reason: 'x',
} as Required<Check>;
const fullRestore = sampleRestore({ filtered: true }) as Required<RestoreRecord>;
const fullAcceptance: Required<Acceptance> = { ...sampleAcceptance(), reason: 'x', restore: fullRestore };

describe('docs/formats.md', () => {
  test('lists the fields of a manifest, in order, and which of them may be absent', () => {
    expect(Object.keys(fullManifest).sort()).toEqual(Object.keys(MANIFEST_FIELDS).sort());
    const written = JSON.parse(encodeManifest(fullManifest).toString()) as Record<string, unknown>;
    const expected = pathsOf(written)
      .map((path) => path.slice(1))
      .map((path) => ({ path, present: isOptional(written, path) ? 'optional' : 'always' }));
    expect(tableUnder('Manifest')).toEqual(expected);
  });

  test('lists the fields of checks and of facts about generations', () => {
    expect(Object.keys(fullCheck).sort()).toEqual(Object.keys(CHECK_FIELDS).sort());
    expect(Object.keys(fullAcceptance).sort()).toEqual(Object.keys(ACCEPTANCE_FIELDS).sort());
    expect(tableUnder('Checks')).toEqual(tableOf(CHECK_FIELDS));
    expect(tableUnder('Generations')).toEqual(tableOf(ACCEPTANCE_FIELDS));
  });

  test('lists the fields of the record of a restore, in order', () => {
    expect(Object.keys(fullRestore).sort()).toEqual(Object.keys(RESTORE_RECORD_FIELDS).sort());
    const written = JSON.parse(encodeRestoreRecord(fullRestore).toString()) as Record<string, unknown>;
    expect(tableUnder('Restore record').map(({ path }) => path)).toEqual(pathsOf(written).map((path) => path.slice(1)));
    expect(tableUnder('Restore record').flatMap(({ path, present }) => (present === 'optional' ? [path] : []))).toEqual([
      'source.backup',
      'source.cluster',
      'source.lineage',
      ...tableOf(RESTORE_RECORD_FIELDS).flatMap(({ path, present }) => (present === 'optional' ? [path] : [])),
    ]);
    expect(RESTORE_RECORD_MAX_BYTES).toBe(MANIFEST_MAX_BYTES);
  });

  test('names the limit of a manifest', () => {
    expect(MANIFEST_MAX_BYTES).toBe(8 * 1024);
    expect(page).toContain('at most 8 KiB');
    expect(TEXT_LENGTH).toBeLessThan(MANIFEST_MAX_BYTES);
  });
});

function tableUnder(heading: string): { path: string; present: string }[] {
  const section = page.split(`\n## ${heading}\n`)[1]!.split('\n## ')[0]!;
  return Array.from(section.matchAll(/^\| `([^`]+)` \| (always|optional) \|/gm), ([, path, present]) => ({
    path: path!,
    present: present!,
  }));
}

function tableOf(fields: object): { path: string; present: string }[] {
  return Object.entries(fields).map(([path, field]) => ({ path, present: typeof field === 'function' ? 'always' : 'optional' }));
}

/** `plain.bytes`, `marks[].time`, `stores[]`. */
function pathsOf(value: unknown): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((each) => pathsOf(each)))].map((path) => `[]${path}`);
  if (typeof value !== 'object' || value === null) return [''];
  return Object.entries(value).flatMap(([name, inner]) => pathsOf(inner).map((path) => `.${name}${path}`));
}

/** Whether a manifest without the outermost part of this path is still one. */
function isOptional(manifest: Record<string, unknown>, path: string): boolean {
  const { [path.split(/[.[]/)[0]!]: _, ...without } = manifest;
  try {
    decodeManifest(Buffer.from(JSON.stringify(without)));
    return true;
  } catch {
    return false;
  }
}
