/** What a few pages of a snapshot tell before it is read as a whole: enough for a plan and for refusals, too little for a promise. */
import { openBolt } from '../../boltdb/bolt.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { isAuthEnabled } from '../../mvcc/auth.ts';
import { readHead, type Head } from '../../mvcc/head.ts';
import { keyOf } from '../../mvcc/key-value.ts';
import { isKubernetesKey } from '../../mvcc/kubernetes.ts';
import { recordsOf } from '../../mvcc/records.ts';
import { mainOf } from '../../mvcc/revision.ts';
import type { RecordSource } from '../../mvcc/source.ts';

export interface Glimpse {
  readonly head: Head;
  /** Keys of Kubernetes are among those that were met. */
  readonly kubernetes: boolean;
  /** Users have to log in. */
  readonly auth: boolean;
}

/** Steps between the leaves that are looked at; each may be a request to a store. In a cluster of Kubernetes nearly every record is one of its own, and the first leaf tells. */
const PLACES = 6n;

/** @throws WardenError `not-bolt`, `not-etcd`, `bolt-damaged`, and what reading throws */
export async function glimpse(file: RandomAccess, signal: AbortSignal): Promise<Glimpse> {
  const db = await openBolt(file, signal);
  const head = await readHead(db, signal);
  return {
    head,
    kubernetes: await meetsKubernetes(await recordsOf(db, signal), head.revision, signal),
    auth: await isAuthEnabled(db, signal),
  };
}

/** Records lie in the order of their revisions, so equal steps from the first to the last meet the file everywhere. */
async function meetsKubernetes(records: RecordSource, end: bigint, signal: AbortSignal): Promise<boolean> {
  let begin = 0n;
  for (let place = 0n; place <= PLACES; place += 1n) {
    const { met, main } = await leafFrom(records, begin + ((end - begin) * place) / PLACES, signal);
    if (met) return true;
    if (place === 0n) begin = main;
  }
  return false;
}

/** The leaf that holds the first record from `main` on. */
async function leafFrom(
  records: RecordSource,
  main: bigint,
  signal: AbortSignal,
): Promise<{ readonly met: boolean; readonly main: bigint }> {
  for await (const batch of records.records({ from: main, signal }))
    return { met: batch.some(({ value }) => ofKubernetes(keyOf(value))), main: mainOf(batch[0]!.key) };
  return { met: false, main };
}

function ofKubernetes(key: Buffer): boolean {
  return isKubernetesKey(key, 0, key.length);
}
