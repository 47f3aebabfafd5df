import { describe, expect, test } from 'vitest';
import { hazardsOf, hazardText, VERSION_HAZARDS } from './versions.ts';

/** The release before, as `3.5.22` before `3.5.23`; a `.0` has the last of the line before. */
function before(version: string): string {
  const [major, minor, patch] = version.split('.').map(Number) as [number, number, number];
  return patch > 0 ? `${major}.${minor}.${patch - 1}` : `${major}.${minor - 1}.99`;
}

function issuesOf(version: string, verdict?: string): string[] {
  return hazardsOf(version).flatMap((hazard) => (verdict === undefined || hazard.verdict === verdict ? [hazard.issue] : []));
}

describe('releases of etcd that do damage', () => {
  const rows = VERSION_HAZARDS.flatMap((hazard) => hazard.ranges.map((range) => ({ hazard, ...range, issue: hazard.issue })));

  test.each(rows)('H9: etcd $issue is in everything from $from up to $until, which is without', ({ hazard, from, until, issue }) => {
    expect(hazardsOf(from)).toContain(hazard);
    expect(hazardsOf(before(until))).toContain(hazard);
    expect(hazardsOf(until)).not.toContain(hazard);
    expect(hazardText(hazard, before(until))).toContain(`(etcd ${issue}, fixed in ${until})`);
    if (from !== '0.0.0') expect(hazardsOf(before(from))).not.toContain(hazard);
  });

  test('H9: defragmentation is forbidden below 3.4.4 and from 3.5.0 to 3.5.5, and nowhere else', () => {
    expect(issuesOf('3.4.3', 'forbid')).toEqual(['#11613']);
    expect(issuesOf('3.5.2', 'forbid')).toEqual(['#13766', '#14685']);
    expect(issuesOf('3.5.5', 'forbid')).toEqual(['#14685']);
    for (const version of ['3.4.4', '3.4.45', '3.5.6', '3.5.35', '3.6.0', '3.6.16', '3.7.0', '3.8.1'])
      expect(issuesOf(version, 'forbid')).toEqual([]);
  });

  test('H9: a database that is applied is dangerous up to 3.4.37, 3.5.22 and 3.6.4', () => {
    for (const version of ['3.4.37', '3.5.22', '3.6.4', '3.6.0-rc.1']) expect(issuesOf(version, 'quiet')).toEqual(['#20271']);
    for (const version of ['3.4.38', '3.5.23', '3.6.5', '3.7.0']) expect(issuesOf(version, 'quiet')).toEqual([]);
  });

  test('H9: releases that have every fix are without any', () => {
    for (const version of ['3.4.38', '3.5.35', '3.6.5', '3.7.3']) expect(hazardsOf(version)).toEqual([]);
  });

  test('H9: a version that cannot be read counts as the oldest', () => {
    expect(issuesOf('', 'forbid')).toEqual(['#11613']);
    expect(hazardText(hazardsOf('')[0]!, '')).toContain('of unknown version');
  });

  test('a sentence names the release, the issue and the fix', () => {
    const text = hazardText(
      VERSION_HAZARDS.find(({ issue }) => issue === '#20271')!,
      '3.5.9',
    );
    expect(text).toMatch(/^etcd 3\.5\.9 .*#20271, fixed in 3\.5\.23/);
    expect(hazardText(VERSION_HAZARDS[0]!, '3.8.0')).toMatch(/\(etcd #11613\)$/);
  });
});
