import { describe, expect, test } from 'vitest';
import { sampleManifest } from '../../test/support/manifests.ts';
import { NOW_MS, planOf, sightOf } from '../../test/support/plans.ts';
import type { Backup } from '../catalog/types.ts';
import type { Samples } from '../maintenance/types.ts';
import { outlookOf, type MaintenanceReport } from './status-maintenance.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MIB = 1024 * 1024;
const quota = { bytes: 2048 * MIB, source: 'status' as const };

function report(samples: Partial<Samples> = {}): MaintenanceReport {
  return {
    sight: sightOf(['m1', 'm2', 'm3']),
    plan: planOf([]),
    enabled: true,
    samples: { clusterId: 'abcd', marks: [], sizes: [], ...samples },
  };
}

/** Ten hours of a member that grows by so much an hour. */
function growing(member: string, from: number, perHour: number): Samples['sizes'] {
  return Array.from({ length: 11 }, (_, index) => ({
    timeMs: NOW_MS - (10 - index) * HOUR,
    member,
    dbSize: from + index * perHour,
    dbSizeInUse: from / 2,
    quota,
  }));
}

function backups(clusterId: string): readonly Backup[] {
  return Array.from({ length: 10 }, (_, day) => {
    const manifest = sampleManifest({ clusterId });
    return {
      timeMs: NOW_MS - (10 - day) * DAY,
      manifest: { ...manifest, plain: { ...manifest.plain, bytes: (100 + day) * MIB } },
    } as Backup;
  });
}

describe('when the quota is reached', () => {
  test('is told from the samples, of the member that reaches it first', () => {
    const sizes = [...growing('1a', 100 * MIB, MIB), ...growing('m2', 100 * MIB, 2 * MIB), ...growing('3a', 100 * MIB, 0)];
    expect(outlookOf(report({ sizes }), { backups: backups('abcd') }, NOW_MS)).toEqual({
      member: 'm2',
      bytesPerDay: 48 * MIB,
      reachedMs: NOW_MS + ((2048 - 120) / 2) * HOUR,
      from: 'samples',
    });
  });

  test('samples of another cluster of that name do not count; the backups of this one do', () => {
    const told = outlookOf(report({ clusterId: 'ef', sizes: growing('1a', 100 * MIB, MIB) }), { backups: backups('abcd') }, NOW_MS);
    expect(told).toMatchObject({ bytesPerDay: MIB, from: 'backups' });
  });

  test('neither samples nor backups of this cluster: nobody can tell', () => {
    expect(outlookOf(report(), { backups: backups('ef') }, NOW_MS)).toBeUndefined();
    expect(outlookOf(report(), undefined, NOW_MS)).toBeUndefined();
  });
});
