/** What a snapshot can tell of the past: the range of revisions that it holds, and a key's state at one of them. Pure but for reading the head. */
import { openBolt } from '../boltdb/bolt.ts';
import { WardenError } from '../errors.ts';
import { readHead } from '../mvcc/head.ts';
import { newerSchema } from '../mvcc/schema.ts';
import type { KeyEntry, KeyRevision, OpenedSnapshot } from './types.ts';

/** Revisions at which the state is known: from the compaction to the end. */
export interface HeldRevisions {
  /** 1n when nothing was ever compacted. */
  readonly first: bigint;
  readonly last: bigint;
  /** Set when an etcd wrote it that is newer than this version knows: why its answers may be incomplete. */
  readonly newer?: string | undefined;
}

/** From the manifest, else from the file. @throws WardenError `not-bolt`, `not-etcd`, `bolt-damaged` */
export async function heldRevisions(snapshot: OpenedSnapshot, signal: AbortSignal): Promise<HeldRevisions> {
  const manifest = snapshot.backup?.manifest;
  if (manifest !== undefined)
    return { ...heldFrom(BigInt(manifest.compactRevision), BigInt(manifest.revision)), newer: newerSchema(manifest) };
  const head = await readHead(await openBolt(snapshot.file, signal), signal);
  return { ...heldFrom(head.compactRevision, head.revision), newer: newerSchema(head) };
}

/** A read at the compact revision itself is still answered, as by etcd. */
function heldFrom(compactRevision: bigint, revision: bigint): HeldRevisions {
  return { first: compactRevision > 1n ? compactRevision : 1n, last: revision };
}

/**
 * The revision to look at.
 * @param asked `--revision`; the newest one when absent
 * @throws WardenError `revision-compacted`, `revision-future` with the range that is held
 */
export function chooseRevision(asked: bigint | undefined, held: HeldRevisions, name: string): bigint {
  if (asked === undefined) return held.last;
  const hint = `${name} holds revisions ${held.first} to ${held.last}; another backup may reach where this one does not: etcd-warden list`;
  if (asked < held.first) throw new WardenError('revision-compacted', `revision ${asked} is compacted in ${name}`, { hint });
  if (asked > held.last) throw new WardenError('revision-future', `revision ${asked} is later than ${name}`, { hint });
  return asked;
}

/** A key's last change that is not newer than `revision`, be it a deletion; undefined when the file knows of none. */
export function changeAt(entry: KeyEntry, revision: bigint): KeyRevision | undefined {
  return entry.revisions.findLast(({ main }) => main <= revision);
}

/** The same when the key lived then. */
export function liveAt(entry: KeyEntry, revision: bigint): KeyRevision | undefined {
  // `etcdutl snapshot restore --bump-revision` leaves a record without a key, which no client of etcd ever sees.
  if (entry.key.length === 0) return undefined;
  const change = changeAt(entry, revision);
  return change === undefined || change.tombstone ? undefined : change;
}
