/**
 * HashKV: the sum by which members of a cluster, and here a file and a cluster, are compared. The same from 3.4 to 3.7
 * (server/storage/mvcc/hash.go; kvstore.go in 3.4):
 *
 *     CRC32C over `key`, then for each record in order, main <= R, its raw key and value, but
 *       main <= C, unless it is the last change of a key that lives at R: left out    (C: compact revision, R: revision of the question)
 *       main == C and a tombstone: left out                                          (servers before 3.4.34 and 3.5.16 remove it instead)
 *     When no key lives at R at all, the first rule falls away: what an unfinished compaction left over counts.
 */
import { WardenError } from '../errors.ts';
import { createRunningSum, type RunningSum } from './crc32c/running-sum.ts';
import { isTombstone, mainOf } from './revision.ts';
import type { RecordSource } from './source.ts';
import { type DigestOptions, findSurvivors, type Survivors } from './survivors.ts';

export interface HashKvOptions extends DigestOptions {
  /** R: at most the source's last revision. */
  readonly revision: bigint;
  /**
   * C of the member whose hash is to be matched, from its response: at least that of the source, at most R. -1n or 0n when nothing was ever
   * compacted.
   */
  readonly compactRevision: bigint;
  /**
   * The source's own finished compaction (meta `finishedCompactRev`), which left at most one record of a key behind it: spares remembering
   * all of these keys. None is assumed when absent.
   */
  readonly compactionFinished?: bigint | undefined;
}

/**
 * @returns the hash as an unsigned number of 32 bits
 * @throws WardenError `revision-compacted` when C is above R: no server answers that; what the source throws
 */
export async function hashKv(source: RecordSource, options: HashKvOptions): Promise<number> {
  const { revision, compactRevision, compactionFinished = 0n, signal } = options;
  if (compactRevision > revision)
    throw new WardenError('revision-compacted', `revision ${revision} has no hash on a member that compacted at ${compactRevision}`);
  const sum = createRunningSum();
  if (compactRevision <= 0n) {
    await pass(source, sum, revision, 0n, undefined, signal);
    return sum.digest();
  }
  const floor = compactionFinished < compactRevision ? compactionFinished : compactRevision;
  const survivors = await findSurvivors(source, { revision, upTo: compactRevision, floor }, options);
  try {
    const kept = await pass(source, sum, revision, compactRevision, survivors, signal);
    const hash = sum.digest();
    if (kept > 0 || survivors.beyond > 0) return hash;
  } finally {
    await survivors.close();
  }
  await pass(source, sum, revision, compactRevision, undefined, signal);
  return sum.digest();
}

/** @returns how many records up to C survive; 0 without `survivors` */
async function pass(
  source: RecordSource,
  sum: RunningSum,
  revision: bigint,
  compactRevision: bigint,
  survivors: Survivors | undefined,
  signal: AbortSignal | undefined,
): Promise<number> {
  const survives = survivors?.judge();
  let kept = 0;
  sum.update(Buffer.from('key'));
  for await (const batch of source.records({ signal })) {
    for (const record of batch) {
      const { key, value } = record;
      const main = mainOf(key);
      if (main > revision) return kept;
      if (main <= compactRevision) {
        if (survives !== undefined) {
          if (!survives(record, main)) continue;
          kept += 1;
        }
        if (main === compactRevision && isTombstone(key)) continue;
      }
      sum.update(key);
      sum.update(value);
    }
  }
  return kept;
}
