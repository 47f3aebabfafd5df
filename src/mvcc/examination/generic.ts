/** The same answers by walks over all records in the order of keys: slower wherever the tree does not lie in that order, and not bound to numbers below 2^53. */
import type { Bolt } from '../../boltdb/bolt.ts';
import { checkContinuity } from '../continuity.ts';
import { hashKv } from '../hash-kv.ts';
import type { Head } from '../head.ts';
import { keyOf } from '../key-value.ts';
import { isKubernetesKey } from '../kubernetes.ts';
import { recordsOf } from '../records.ts';
import type { Scratch } from '../scratch.ts';
import type { RecordSource } from '../source.ts';
import { countKeys } from '../state.ts';
import type { Examined } from './types.ts';

export interface WalkOptions {
  readonly scratch: Scratch;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** @throws WardenError `not-etcd`, `history-broken`, `bolt-damaged` */
export async function examineByWalk(db: Bolt, head: Head, options: WalkOptions): Promise<Examined> {
  const { scratch, seed } = options;
  const source = await recordsOf(db, options.signal);
  const recordCount = await checkContinuity(source, head.compactRevision, options);
  const { revision, compactionFinished } = head;
  return {
    head,
    recordCount,
    keyCount: await countKeys(source, head, revision, options),
    kubernetes: await holdsKubernetes(source, options.signal),
    hashKv: (compacted, signal) =>
      hashKv(source, {
        revision: compacted > revision ? compacted : revision,
        compactRevision: compacted,
        compactionFinished,
        scratch,
        seed,
        signal,
      }),
  };
}

async function holdsKubernetes(source: RecordSource, signal: AbortSignal): Promise<boolean> {
  for await (const batch of source.records({ signal }))
    for (const { value } of batch) {
      const key = keyOf(value);
      if (isKubernetesKey(key, 0, key.length)) return true;
    }
  return false;
}
