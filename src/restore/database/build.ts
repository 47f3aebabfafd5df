/**
 * The database of a restored cluster, native: the plain bytes are copied and a few buckets replaced, or a new database is written where anything is left out.
 * Nothing of it counts before SHA-256, structure, records and HashKV agreed, and whatever fails leaves nothing behind.
 */
import { editBuckets } from '../../boltdb/write/edit.ts';
import { WardenError } from '../../errors.ts';
import type { BuiltDatabase, Content, RestoreContext } from '../types.ts';
import { clusterEdits, requireStartable } from './cluster.ts';
import { createDatabaseFile, type DatabaseFile } from './file.ts';
import { HOST_ORDER } from './order.ts';
import { mustCompact, raiseBy, raisedTo } from './raise.ts';
import type { DatabaseRequest } from './request.ts';
import { rewrite } from './rewrite.ts';
import { withVerified } from './verified.ts';

export { measureDatabase } from './measure.ts';

/**
 * @returns what the file holds, which is on the disk then
 * @throws WardenError what the source throws; `bolt-damaged`, `not-etcd`, `history-broken`, `verification-failed` for a source that is not sound; `newer-schema`,
 *   `refused`, `revision-compacted`, `revision-future`, `usage` for what cannot be built of it; `disk-full`, `disk-failed`
 */
export async function buildDatabase(request: DatabaseRequest, context: RestoreContext): Promise<BuiltDatabase> {
  const file = await createDatabaseFile(request.path, request.source.databaseBytes);
  try {
    const built = needsRewriting(request.content) ? await rewrite(request, file, context) : await copy(request, file, context);
    context.signal.throwIfAborted();
    await file.finish();
    return built;
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/**
 * While the disk takes some blocks, the next are decoded and looked at. A disk takes a block now and then ten times as long as the one before: with three blocks
 * ahead both processors waited for a third of the time, with eight for a tenth, and they are 8 MiB.
 */
const WRITES_AHEAD = 8;

/** Anything but all of the records, as dense as they were. */
export function needsRewriting(content: Content): boolean {
  const { revision, only, without, defragmented } = content;
  return revision !== undefined || only.length > 0 || without.length > 0 || defragmented || mustCompact(content);
}

async function copy(request: DatabaseRequest, file: DatabaseFile, context: RestoreContext): Promise<BuiltDatabase> {
  const { source, cluster, content, minor, scratchFolder } = request;
  const { signal, progress } = context;
  const plain = {
    ahead: WRITES_AHEAD,
    write: file.write.bind(file),
    clear: () => file.truncate(0),
    access: (size: number) => file.access(size),
  };
  return await withVerified({ source, file: plain, scratchFolder }, context, async ({ poured, db, examined }) => {
    const { head, keyCount, kubernetes } = examined;
    if (db.meta.order.name !== HOST_ORDER)
      throw new WardenError('refused', `it was written on a ${db.meta.order.name} machine, and etcd reads only files of its own kind`, {
        hint: '`--defragmented` writes it anew in the byte order of this machine',
      });
    await requireStartable(db, head, request, signal);
    const by = raiseBy(content, { kubernetes });
    const revision = by === undefined ? head.revision : raisedTo(head.revision, by);
    const compactRevision = by !== undefined ? revision : head.compactRevision > 0n ? head.compactRevision : -1n;
    const hash = await examined.hashKv(compactRevision, signal);
    progress({ step: 'build', message: `writing the members into ${request.path}` });
    const edits = await clusterEdits(db, { cluster, minor, compacted: by === undefined ? undefined : revision }, signal);
    const { bytes } = await editBuckets(file.access(poured.databaseBytes), edits, file, signal);
    await file.truncate(bytes);
    return {
      source: poured,
      bytes,
      revision,
      compactRevision,
      hash,
      keyCount,
      raisedFrom: by === undefined ? undefined : head.revision,
      kubernetes,
      droppedAlarms: head.alarms.length,
      orphanedLeases: 0,
      builder: 'native',
    };
  });
}
