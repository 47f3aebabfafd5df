/**
 * A new database, for what cannot be had by copying: denser pages, only some of the keys, an older revision, revisions raised by little. The source is taken
 * and proved first, into a scratch file, since nothing may be made of what is not known to be sound; then its records go over in order.
 */
import { release } from '../../archive/young-garbage.ts';
import { createScratch } from '../../archive/scratch.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { type BoltWriter, createBoltWriter } from '../../boltdb/write/writer.ts';
import { WardenError } from '../../errors.ts';
import { notEtcd } from '../../mvcc/errors.ts';
import type { ScratchFile } from '../../mvcc/scratch.ts';
import type { BuiltDatabase, RestoreContext } from '../types.ts';
import type { DatabaseRequest } from './request.ts';
import { clusterEdits, requireStartable } from './cluster.ts';
import type { DatabaseFile } from './file.ts';
import { examineFile, figuresOf } from './measure.ts';
import { HOST_ORDER } from './order.ts';
import { raiseBy, raisedTo } from './raise.ts';
import { copyRecords, countOrphans, selectionOf } from './records.ts';
import { type PlainFile, type Verified, withVerified } from './verified.ts';

/** @throws WardenError as `buildDatabase` */
export async function rewrite(request: DatabaseRequest, file: DatabaseFile, context: RestoreContext): Promise<BuiltDatabase> {
  const { source, scratchFolder } = request;
  const plain = await createPlainScratch(scratchFolder, source.encrypted);
  try {
    return await withVerified({ source, file: plain, scratchFolder }, context, (verified) =>
      build(request, verified, { file, read: plain.read }, context),
    );
  } finally {
    await plain.close();
  }
}

type Read = (offset: number, length: number) => Promise<Buffer>;

async function build(
  request: DatabaseRequest,
  verified: Verified,
  { file, read }: { readonly file: DatabaseFile; readonly read: Read },
  context: RestoreContext,
): Promise<BuiltDatabase> {
  const { cluster, content, minor } = request;
  const { signal, progress } = context;
  const { poured, db, examined } = verified;
  const { head } = examined;
  await requireStartable(db, head, request, signal);
  const selection = selectionOf(content, head);
  const orphanedLeases = content.revision === undefined ? 0 : await countOrphans(verified, selection, signal);

  const writer = createBoltWriter(file, { pageSize: db.meta.pageSize, order: HOST_ORDER, signal });
  let bytes: number;
  let raised: bigint | undefined;
  let written: Awaited<ReturnType<typeof copyRecords>>;
  try {
    const onRecords = (count: number): void =>
      progress({ step: 'build', message: `writing ${request.path}`, bytes: count, totalBytes: examined.recordCount });
    written = await copyRecords(verified, selection, writer, { read, signal, onRecords });
    const by = raiseBy(content, written);
    raised = by === undefined ? undefined : raisedTo(selection.revision, by);
    // Where history was left out, the revision itself is the oldest that can be read.
    const compacted = raised ?? (selection.live ? selection.revision : undefined);
    const edits = await clusterEdits(db, { cluster, minor, compacted }, signal);
    for (const { name, entries } of edits) if (entries !== undefined) await writer.smallBucket(name, entries);
    const done = new Set(['key', ...edits.map(({ name }) => name.toString())]);
    for (const name of await db.bucketKeys(signal)) if (!done.has(name.toString())) await copyBucket(verified, name, writer, signal);
    bytes = await writer.finish();
  } catch (error) {
    await writer.settle();
    throw error;
  }

  const rest = {
    source: poured,
    bytes,
    raisedFrom: raised === undefined ? undefined : selection.revision,
    droppedAlarms: head.alarms.length,
    orphanedLeases,
    builder: 'native',
  } as const;
  if (selection.everything) {
    // The very records that were examined, as their sum says: what was found out about them holds for what was written.
    if (written.sum !== (await examined.hashKv(-1n, signal)))
      throw new WardenError('changed-meanwhile', 'the records that were written are not those that were examined', {
        hint: 'the disk of the scratch folder gave back something else than was written to it: look at the kernel log, do not trust this disk',
      });
    const revision = raised ?? head.revision;
    const compactRevision = raised ?? (head.compactRevision > 0n ? head.compactRevision : -1n);
    const hash = await examined.hashKv(compactRevision, signal);
    return { ...rest, revision, compactRevision, hash, keyCount: examined.keyCount, kubernetes: examined.kubernetes };
  }
  if (selection.live) {
    // Nothing but the last change of each key, all of it compacted: every record counts, and no other (mvcc/hash-kv.ts).
    const revision = raised ?? selection.revision;
    return { ...rest, revision, compactRevision: revision, hash: written.sum, keyCount: written.count, kubernetes: written.kubernetes };
  }
  const figures = await examineFile(file, bytes, { ...context, scratchFolder: request.scratchFolder }, (found) => figuresOf(found, signal));
  return { ...rest, ...figures };
}

/** Entry by entry. @throws WardenError `not-etcd` for what etcd never had: buckets inside of its buckets */
async function copyBucket({ db }: Verified, name: Buffer, writer: BoltWriter, signal: AbortSignal): Promise<void> {
  const source = await db.bucket(name, signal);
  if (source === undefined) return;
  const target = writer.bucket(name);
  for await (const batch of source.batches({ signal })) {
    for (const { key, value, isBucket } of batch) {
      if (isBucket) throw notEtcd(`bucket ${name.toString()} holds a bucket`);
      await target.add(Buffer.concat([key, value]), 0, key.length, value.length);
    }
  }
  await target.end();
}

/** Plain bytes in a file without a name, encrypted with a key in memory where the backup is: they are not the data directory yet. */
async function createPlainScratch(
  folder: string,
  encrypted: boolean,
): Promise<PlainFile & { readonly read: Read; close(): Promise<void> }> {
  const scratch = createScratch(folder, { encrypted });
  let file: ScratchFile = await scratch.create();
  return {
    write: (_offset, bytes) => file.append(bytes),
    async clear() {
      await file.close();
      file = await scratch.create();
    },
    read: (offset, length) => file.read(offset, length),
    access: (size) => readAhead({ size, read: (offset, length) => file.read(offset, length) }),
    close: () => file.close(),
  };
}

/** Leaves of the records lie one behind the other for long stretches, and a read of a megabyte costs as much as a few of a page. */
const AHEAD = 2 ** 20;
/** What is read elsewhere: a page, and mostly the run that it begins. */
const ELSEWHERE = 2 ** 15;

function readAhead(inner: RandomAccess): RandomAccess {
  let from = 0;
  let held: Buffer = Buffer.alloc(0);
  return {
    size: inner.size,
    async read(offset, length, signal) {
      const at = offset - from;
      if (at >= 0 && at + length <= held.length) return held.subarray(at, at + length);
      signal?.throwIfAborted();
      const onwards = at >= 0 && at <= held.length + ELSEWHERE;
      const wanted = Math.max(length, onwards ? AHEAD : ELSEWHERE);
      // Nobody may use what was handed out before.
      release(held);
      held = await inner.read(offset, Math.max(length, Math.min(wanted, inner.size - offset)));
      from = offset;
      return held.subarray(0, length);
    },
  };
}
