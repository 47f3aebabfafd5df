/** Releases of etcd that matter when a member is chosen. Versions are `major.minor.patch`, anything after is ignored. */

/** Negative when `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const left = numbers(a);
  const right = numbers(b);
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Learners serve Snapshot since 3.4.28 and 3.5.0 (etcd #12890). */
export function learnerServesSnapshot(version: string): boolean {
  return compareVersions(version, '3.4.28') >= 0;
}

interface BadRange {
  readonly from: string;
  /** The first release that is good again. */
  readonly until: string;
  readonly what: string;
}

/** Releases whose data may be wrong without anything telling so (reference: etcd's own changelogs and issues). */
const BAD_DATA: readonly BadRange[] = [
  { from: '3.5.0', until: '3.5.3', what: 'can lose or diverge data after a crash under load (etcd #13766)' },
  { from: '3.5.3', until: '3.5.6', what: 'can diverge after a crash during defragmentation (etcd #14685)' },
];

/** Why data of this release deserves a second look, or undefined. */
export function knownBadData(version: string): string | undefined {
  const bad = BAD_DATA.find((range) => compareVersions(version, range.from) >= 0 && compareVersions(version, range.until) < 0);
  return bad === undefined ? undefined : `etcd ${version} ${bad.what}`;
}

/** Releases whose HashKV may differ from that of other members although the data is the same. */
const WRONG_HASH: readonly BadRange[] = [
  // No 3.4 remembers hashes of compactions; 3.5.5 began to.
  { from: '3.5.5', until: '3.5.10', what: 'may remember a wrong hash of a compaction that a restart resumed (etcd #15919)' },
  { from: '3.4.0', until: '3.4.34', what: 'may drop a tombstone at the compact revision from the hash (etcd #18274)' },
  { from: '3.5.0', until: '3.5.16', what: 'may drop a tombstone at the compact revision from the hash (etcd #18274)' },
];

/** Why a different HashKV of this release proves nothing, or undefined. */
export function knownWrongHash(version: string): string | undefined {
  const bad = WRONG_HASH.find((range) => compareVersions(version, range.from) >= 0 && compareVersions(version, range.until) < 0);
  return bad === undefined ? undefined : `etcd ${version} ${bad.what}`;
}

function numbers(version: string): number[] {
  return /^v?(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number) ?? [];
}
