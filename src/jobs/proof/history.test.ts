import { describe, expect, test } from 'vitest';
import type { Backup } from '../../catalog/types.ts';
import type { Manifest, Proof } from '../../format/types.ts';
import { LINEAGE_ONE, LINEAGE_TWO, sampleManifest } from '../../../test/support/manifests.ts';
import { proofHistory, provable } from './history.ts';

const proof: Proof = { revision: '41', compactRevision: '12', hash: 7, members: ['m2'], tookMs: 40, bytes: 1_000 };
const disagreement = { members: ['m3'], reason: 'm3 has other data than m2' };

/** The hour is the backup's time and name. */
function backup(hour: number, fields: Partial<Manifest> = {}, later: Partial<Backup> = {}): Backup {
  const manifest = sampleManifest({ time: `2026-11-22T${String(hour).padStart(2, '0')}:00:00.000Z`, ...fields });
  const copy = { store: 'local', manifest: 'present', data: 'present', check: undefined, soundMs: {}, verified: true } as const;
  return {
    id: `at-${hour}`,
    cluster: 'prod',
    timeMs: Date.parse(manifest.time),
    manifest,
    copies: [copy],
    state: 'complete',
    unasked: [],
    drills: [],
    held: undefined,
    suspect: undefined,
    proof: fields.proof,
    ...later,
  };
}

describe('what earlier backups tell', () => {
  test('who was asked and how long it took, agreeing or not, of this history alone', () => {
    const backups = [
      backup(1, { lineage: LINEAGE_TWO, proof }),
      backup(2, { proof }),
      backup(3),
      backup(4, { proof, disagreement }),
      backup(5, {}, { proof: { ...proof, members: ['m1'] } }),
    ];
    const { proofs, sinceMs } = proofHistory({ backups }, LINEAGE_ONE);
    expect(sinceMs).toBe(backups[1]!.timeMs);
    expect(proofs).toEqual([
      { timeMs: backups[1]!.timeMs, members: ['m2'], tookMs: 40, bytes: 1_000 },
      { timeMs: backups[3]!.timeMs, members: ['m2', 'm3'], tookMs: 40, bytes: 1_000 },
      { timeMs: backups[4]!.timeMs, members: ['m1'], tookMs: 40, bytes: 1_000 },
    ]);
    expect(proofHistory({ backups: [] }, undefined)).toEqual({ proofs: [], sinceMs: undefined, disagreement: undefined });
  });

  test('members disagree until the next comparison; a backup without one knows nothing', () => {
    const told = backup(1, { proof, disagreement });
    const found = { ...disagreement, id: told.id };
    expect(proofHistory({ backups: [told] }, LINEAGE_ONE).disagreement).toEqual(found);
    expect(proofHistory({ backups: [told, backup(2)] }, LINEAGE_ONE).disagreement).toEqual(found);
    expect(proofHistory({ backups: [told, backup(2), backup(3, { proof })] }, LINEAGE_ONE).disagreement).toBeUndefined();
  });
});

describe('what may still be proved', () => {
  const unproved = (code: string) => ({ unproved: { code, reason: 'why' } });
  const ids = (...backups: Backup[]): string[] => provable({ backups }, LINEAGE_ONE).map(({ id }) => id);

  test('the newest few that lack a proof for a passing reason, newest first', () => {
    expect(ids(backup(1, unproved('lagging')), backup(2, { proof }), backup(3, unproved('stall-too-long')))).toEqual(['at-3', 'at-1']);
    expect(ids(...[1, 2, 3, 4].map((hour) => backup(hour, unproved('timeout'))))).toEqual(['at-4', 'at-3', 'at-2']);
  });

  test.each(['disabled', 'damaged', 'differs', 'imported', 'revision-compacted'])('not one that lacks it for good: %s', (code) => {
    expect(ids(backup(1, unproved(code)))).toEqual([]);
  });

  test('one of a newer schema only when this version has learnt it', () => {
    const newer = unproved('newer-schema');
    expect(ids(backup(1, { ...newer, storageVersion: '3.8.0' }), backup(2, { ...newer, storageVersion: '3.7.0' }))).toEqual(['at-2']);
  });

  test('not one of another history, a suspect one, one proved since, one that no store holds, or one of before there were proofs', () => {
    const copy = { store: 'local', manifest: 'present', data: 'missing', check: undefined, soundMs: {}, verified: false } as const;
    expect(
      ids(
        backup(1, { ...unproved('timeout'), lineage: LINEAGE_TWO }),
        backup(2, unproved('timeout'), { suspect: 'why' }),
        backup(3, unproved('timeout'), { proof }),
        backup(4, unproved('timeout'), { copies: [copy] }),
        backup(5),
      ),
    ).toEqual([]);
  });
});
