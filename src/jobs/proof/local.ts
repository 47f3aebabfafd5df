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

/** By the figures of its examination; again by a walk over all records with another seed. */
export function examinedHash(examined: Examined, file: RandomAccess, scratch: Scratch): LocalHash {
  return {
    hash: remembered((compact, signal) => examined.hashKv(compact, signal)),
    again: remembered((compact, signal) => walk(file, compact, scratch, signal)),
  };
}

/** Assumes nothing of what the file's own compaction left behind: what was interrupted can have left more than it says. */
async function walk(file: RandomAccess, compactRevision: bigint, scratch: Scratch, signal: AbortSignal): Promise<number> {
  const db = await openBolt(file, signal);
  const { revision } = await readHead(db, signal);
  return hashKv(await recordsOf(db, signal), { revision, compactRevision, scratch, seed: SECOND_SEED, signal });
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
