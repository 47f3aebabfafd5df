/** Which records of a database go into another one, and how they get there. */
import type { BoltWriter } from '../../boltdb/write/writer.ts';
import { createRunningSum } from '../../mvcc/crc32c/running-sum.ts';
import type { Head } from '../../mvcc/head.ts';
import { keyOf, parseKeyValue } from '../../mvcc/key-value.ts';
import { isKubernetesKey } from '../../mvcc/kubernetes.ts';
import { leasesOf } from '../../mvcc/leases.ts';
import { recordsOf } from '../../mvcc/records.ts';
import { mainOf } from '../../mvcc/revision.ts';
import type { RawRecord } from '../../mvcc/source.ts';
import { liveRecords, requireRevision } from '../../mvcc/state.ts';
import type { Content } from '../types.ts';
import { mustCompact } from './raise.ts';
import type { Verified } from './verified.ts';

export interface Selection {
  /** No record above it. */
  readonly revision: bigint;
  /** Only the last change of each key that lives at the revision. */
  readonly live: boolean;
  readonly only: readonly Buffer[];
  readonly without: readonly Buffer[];
  /** Nothing is left out. */
  readonly everything: boolean;
}

/**
 * Where keys are left out, their history goes with that of all others: a store in which some keys have a past and some have none would answer questions
 * about earlier revisions wrongly.
 * @throws WardenError `revision-compacted`, `revision-future`
 */
export function selectionOf(content: Content, head: Head): Selection {
  const { only, without, revision = head.revision } = content;
  requireRevision(head, revision);
  const live = only.length > 0 || without.length > 0 || mustCompact(content);
  return { revision, live, only, without, everything: !live && revision === head.revision };
}

export interface CopiedRecords {
  readonly kubernetes: boolean;
  /** HashKV of these as a member that never compacted computes it. */
  readonly sum: number;
}

/** Writes bucket `key`. @throws WardenError what reading and writing throw */
export async function copyRecords(
  verified: Verified,
  selection: Selection,
  writer: BoltWriter,
  { signal, onRecords }: { readonly signal: AbortSignal; readonly onRecords: (count: number) => void },
): Promise<CopiedRecords> {
  const bucket = writer.bucket('key');
  const sum = createRunningSum();
  sum.update(Buffer.from('key'));
  let kubernetes = false;
  let count = 0;
  for await (const batch of selected(verified, selection, signal)) {
    for (const { key, value } of batch) {
      const name = keyOf(value);
      if (!isWanted(name, selection)) continue;
      kubernetes ||= isKubernetesKey(name, 0, name.length);
      // The value lies right behind its key, as in every page (boltdb/strict.ts).
      const both = Buffer.from(key.buffer, key.byteOffset, key.length + value.length);
      sum.update(both);
      const added = bucket.add(both, 0, key.length, value.length);
      if (added !== undefined) await added;
    }
    count += batch.length;
    onRecords(count);
  }
  await bucket.end();
  return { kubernetes, sum: sum.digest() };
}

/** Live keys whose lease the database does not hold: it was revoked after the revision, or ran out. */
export async function countOrphans(verified: Verified, selection: Selection, signal: AbortSignal): Promise<number> {
  const { db, examined, scratch } = verified;
  const leases = new Set<bigint>();
  for await (const { id } of leasesOf(db, signal)) leases.add(id);
  const source = await recordsOf(db, signal);
  let count = 0;
  for await (const batch of liveRecords(source, examined.head, selection.revision, { scratch, signal })) {
    for (const { value } of batch) {
      const { key, lease } = parseKeyValue(value);
      if (lease !== 0n && !leases.has(lease) && isWanted(key, selection)) count += 1;
    }
  }
  return count;
}

async function* selected(
  { db, examined, scratch }: Verified,
  { revision, live }: Selection,
  signal: AbortSignal,
): AsyncGenerator<readonly RawRecord[], void, undefined> {
  const source = await recordsOf(db, signal);
  if (live) {
    yield* liveRecords(source, examined.head, revision, { scratch, signal });
    return;
  }
  for await (const batch of source.records({ signal })) {
    const last = batch.at(-1);
    if (last === undefined || mainOf(last.key) <= revision) {
      yield batch;
      continue;
    }
    yield batch.filter(({ key }) => mainOf(key) <= revision);
    return;
  }
}

function isWanted(key: Buffer, { only, without }: Selection): boolean {
  return (only.length === 0 || only.some((prefix) => begins(key, prefix))) && !without.some((prefix) => begins(key, prefix));
}

function begins(key: Buffer, prefix: Buffer): boolean {
  return key.length >= prefix.length && key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0;
}
