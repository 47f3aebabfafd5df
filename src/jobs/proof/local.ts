/** The file's side of a comparison. */
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import type { Examined } from '../../mvcc/examination/types.ts';
import { hashKv } from '../../mvcc/hash-kv.ts';
import { recordsOf } from '../../mvcc/records.ts';
import { readHead } from '../../mvcc/head.ts';
import type { Scratch } from '../../mvcc/scratch.ts';
import type { LocalHash } from './verdict.ts';

/** Other than the seed that is used first. */
const SECOND_SEED = 0x5eed2;

/** By the figures of its examination; again by a walk over all records. */
export function examinedHash(examined: Examined, file: RandomAccess, scratch: Scratch): LocalHash {
  const walked = walkedHash(file, scratch);
  return { hash: remembered((compact, signal) => examined.hashKv(compact, signal)), again: walked.again };
}

/** By a walk over all records each time. */
export function walkedHash(file: RandomAccess, scratch: Scratch): LocalHash {
  const walk = async (compactRevision: bigint, signal: AbortSignal, seed?: number): Promise<number> => {
    const db = await openBolt(file, signal);
    const { revision, compactionFinished } = await readHead(db, signal);
    // The second opinion assumes nothing of what the file's own compaction left behind: what was interrupted can have left more than it says.
    const finished = seed === undefined ? compactionFinished : 0n;
    return hashKv(await recordsOf(db, signal), { revision, compactRevision, compactionFinished: finished, scratch, seed, signal });
  };
  return {
    hash: remembered((compact, signal) => walk(compact, signal)),
    again: remembered((compact, signal) => walk(compact, signal, SECOND_SEED)),
  };
}

/** Members with the same compact revision are compared with one computation. */
function remembered(compute: LocalHash['hash']): LocalHash['hash'] {
  const known = new Map<bigint, Promise<number>>();
  return (compactRevision, signal) => {
    const found = known.get(compactRevision) ?? compute(compactRevision, signal);
    known.set(compactRevision, found);
    return found;
  };
}
