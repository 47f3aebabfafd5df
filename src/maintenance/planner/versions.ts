/**
 * Releases of etcd on which maintenance is known to do damage, or to be less than it should be. Versions are `major.minor.patch`, anything after is
 * ignored; one that cannot be read counts as older than all.
 */

export interface VersionHazard {
  /** Minor lines it is in, each with the first release that has it and the first that has it no more. */
  readonly ranges: readonly { readonly from: string; readonly until: string }[];
  /** `forbid`: not without an explicit override. `quiet`: only while no database is sent, applied or about to be. `warn`: it is said. */
  readonly verdict: 'forbid' | 'quiet' | 'warn';
  /** What meets it. */
  readonly touches: 'defrag' | 'compaction' | 'snapshot' | 'upgrade';
  /** Of etcd's own tracker. */
  readonly issue: string;
  /** Goes on from `etcd 3.5.2`. */
  readonly what: string;
}

export const VERSION_HAZARDS: readonly VersionHazard[] = [
  {
    ranges: [{ from: '0.0.0', until: '3.4.4' }],
    verdict: 'forbid',
    touches: 'defrag',
    issue: '#11613',
    what: 'may read the leftover of an interrupted defragmentation into the next one',
  },
  {
    ranges: [{ from: '3.5.0', until: '3.5.3' }],
    verdict: 'forbid',
    touches: 'defrag',
    issue: '#13766',
    what: 'may lose or diverge data when it crashes under load',
  },
  {
    ranges: [{ from: '3.5.0', until: '3.5.6' }],
    verdict: 'forbid',
    touches: 'defrag',
    issue: '#14685',
    what: 'diverges from the other members when it crashes during a defragmentation',
  },
  {
    ranges: [
      { from: '0.0.0', until: '3.4.38' },
      { from: '3.5.0', until: '3.5.23' },
      { from: '3.6.0', until: '3.6.5' },
    ],
    verdict: 'quiet',
    touches: 'defrag',
    issue: '#20271',
    what: 'damages its database when a snapshot of the leader is applied during a defragmentation',
  },
  {
    ranges: [
      { from: '0.0.0', until: '3.4.35' },
      { from: '3.5.0', until: '3.5.17' },
    ],
    verdict: 'warn',
    touches: 'defrag',
    issue: '#18842',
    what: 'crashes when a defragmentation fails, as for want of disk space',
  },
  {
    ranges: [
      { from: '0.0.0', until: '3.4.19' },
      { from: '3.5.0', until: '3.5.3' },
    ],
    verdict: 'warn',
    touches: 'defrag',
    issue: '#13701',
    what: 'forgets the options of its backend after a defragmentation, until it is started again',
  },
  {
    ranges: [
      { from: '0.0.0', until: '3.4.32' },
      { from: '3.5.0', until: '3.5.14' },
    ],
    verdict: 'warn',
    touches: 'compaction',
    issue: '#17865',
    what: 'may go back to an earlier revision when it crashes during a compaction',
  },
  {
    ranges: [
      { from: '0.0.0', until: '3.4.31' },
      { from: '3.5.0', until: '3.5.13' },
    ],
    verdict: 'warn',
    touches: 'compaction',
    issue: '#17612',
    what: 'may leave out events of a watch after a compaction',
  },
  {
    ranges: [
      { from: '0.0.0', until: '3.4.34' },
      { from: '3.5.0', until: '3.5.16' },
    ],
    verdict: 'warn',
    touches: 'compaction',
    issue: '#18274',
    what: 'may drop a deletion at the compacted revision, so that hashes of members differ',
  },
  {
    ranges: [{ from: '3.5.5', until: '3.5.10' }],
    verdict: 'warn',
    touches: 'compaction',
    issue: '#15919',
    what: 'may remember a wrong hash of a compaction that a restart resumed, and arm CORRUPT for it',
  },
  {
    ranges: [{ from: '3.5.16', until: '3.5.19' }],
    verdict: 'warn',
    touches: 'compaction',
    issue: '#19406',
    what: 'may answer seconds late at each compaction',
  },
  {
    ranges: [
      { from: '0.0.0', until: '3.4.36' },
      { from: '3.5.0', until: '3.5.18' },
    ],
    verdict: 'warn',
    touches: 'compaction',
    issue: '#19249',
    what: 'may leave out the event of a deletion at the compacted revision',
  },
  {
    ranges: [{ from: '3.5.0', until: '3.5.6' }],
    verdict: 'warn',
    touches: 'snapshot',
    issue: '#14648',
    what: 'may be inconsistent about users and roles after it recovered from a snapshot',
  },
  {
    ranges: [{ from: '3.5.0', until: '3.5.26' }],
    verdict: 'warn',
    touches: 'upgrade',
    issue: '#20967',
    what: 'may bring removed members back when it is upgraded to 3.6: upgrade to 3.5.26 or later first',
  },
];

type Release = readonly [number, number, number];

const PARSED = VERSION_HAZARDS.map((hazard) => ({
  hazard,
  ranges: hazard.ranges.map(({ from, until }) => ({ from: parse(from), until: parse(until) })),
}));

/** Those that this release has, in the order of the table. */
export function hazardsOf(version: string): readonly VersionHazard[] {
  const release = parse(version);
  return PARSED.filter(({ ranges }) => ranges.some(({ from, until }) => compare(release, from) >= 0 && compare(release, until) < 0)).map(
    ({ hazard }) => hazard,
  );
}

/** One sentence with the issue, and the first release of the same minor line without the hazard. */
export function hazardText(hazard: VersionHazard, version: string): string {
  const release = parse(version);
  const range = hazard.ranges.find(({ until }) => compare(release, parse(until)) < 0);
  const fixed = range === undefined ? '' : `, fixed in ${range.until}`;
  return `etcd ${version === '' ? '(of unknown version)' : version} ${hazard.what} (etcd ${hazard.issue}${fixed})`;
}

function compare(a: Release, b: Release): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

function parse(version: string): Release {
  const found = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version);
  return [Number(found?.[1] ?? 0), Number(found?.[2] ?? 0), Number(found?.[3] ?? 0)];
}
