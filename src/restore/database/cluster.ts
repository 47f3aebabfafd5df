/**
 * What a restored database says of its cluster, instead of what the old one was: who its members are, where their raft log begins, how far history goes. All
 * of it lies in small buckets; users, roles and leases stay.
 *
 * Sources: etcdutl/snapshot/v3_snapshot.go (saveDB, saveWALAndSnap, updateCIndex), server/storage/schema (meta.go, membership.go, cindex.go), 3.4 to 3.7.
 */
import type { Bolt } from '../../boltdb/bolt.ts';
import type { BucketEdit } from '../../boltdb/write/edit.ts';
import type { NewEntry } from '../../boltdb/write/sink.ts';
import { WardenError } from '../../errors.ts';
import { notEtcd } from '../../mvcc/errors.ts';
import type { Head } from '../../mvcc/head.ts';
import { encodeRevision } from '../../mvcc/revision.ts';
import { requireKnownSchema } from '../../mvcc/schema.ts';
import { memberJson } from '../directory/member-json.ts';
import type { EtcdMinor, NewCluster } from '../types.ts';

export interface ClusterChange {
  readonly cluster: NewCluster;
  readonly minor: EtcdMinor;
  /** Everything up to here counts as compacted, and it is the current revision; undefined = as it was. */
  readonly compacted: bigint | undefined;
}

/** The small buckets of etcd hold less: a megabyte is some thousand members. */
const MAX_BUCKET_BYTES = 2 ** 20;

/** @throws WardenError `not-etcd`, `bolt-damaged` */
export async function clusterEdits(db: Bolt, change: ClusterChange, signal?: AbortSignal): Promise<BucketEdit[]> {
  const { cluster } = change;
  return [
    { name: 'members', entries: memberEntries(cluster) },
    { name: 'members_removed', entries: [] },
    // NOSPACE would refuse every write until somebody disarms it, and is raised anew where the quota is still reached; CORRUPT was of a member that is gone.
    { name: 'alarm', entries: [] },
    { name: 'meta', entries: metaEntries(await entriesOf(db, 'meta', signal), change) },
    // A downgrade that was under way was one of the old members: the new ones would go on with it.
    { name: 'cluster', entries: (await entriesOf(db, 'cluster', signal)).filter(({ key }) => key.toString() !== 'downgrade') },
  ];
}

/** As etcdutl leaves the bucket: the key is the id in hex without padding, so that their order is not that of the ids. */
export function memberEntries({ members }: NewCluster): NewEntry[] {
  return members
    .map((member) => ({ key: Buffer.from(member.id.toString(16)), value: memberJson(member) }))
    .toSorted((a, b) => Buffer.compare(a.key, b.key));
}

/**
 * The log of a restored member begins behind one entry for each member (its snapshot record says so), of term 1. etcd before 3.5 knows no term and no
 * configuration here. 3.6 and later need the term to tell the schema, and early releases of 3.6 the configuration as well: without it they would not raise
 * the storage version before the next snapshot of raft. etcdutl leaves the old members' configuration there; nothing but that check reads it.
 */
function metaEntries(old: readonly NewEntry[], { cluster, minor, compacted }: ClusterChange): NewEntry[] {
  const meta = new Map(old.map(({ key, value }) => [key.toString('latin1'), value]));
  meta.set('consistent_index', bigEndian(BigInt(cluster.members.length)));
  if (minor === '3.4') {
    meta.delete('term');
    meta.delete('confState');
  } else {
    meta.set('term', bigEndian(1n));
    meta.set('confState', Buffer.from(`{"voters":[${cluster.members.map(({ id }) => id).join(',')}],"auto_leave":false}`));
  }
  if (compacted !== undefined) {
    // Both: the server takes the higher one for its revision when it has finished, and only later releases of 3.4 and 3.5 do so when it is scheduled alone.
    const revision = encodeRevision({ main: compacted, sub: 0n, tombstone: false });
    meta.set('finishedCompactRev', revision);
    meta.set('scheduledCompactRev', revision);
  }
  return [...meta].map(([key, value]) => ({ key: Buffer.from(key, 'latin1'), value })).toSorted((a, b) => Buffer.compare(a.key, b.key));
}

/** Copies of all entries of a small bucket; none when it is not there. @throws WardenError `not-etcd`, `bolt-damaged` */
export async function entriesOf(db: Bolt, name: string, signal?: AbortSignal): Promise<NewEntry[]> {
  const bucket = await db.bucket(name, signal);
  if (bucket === undefined) return [];
  const entries: NewEntry[] = [];
  let bytes = 0;
  for await (const { key, value, isBucket } of bucket.entries(signal)) {
    if (isBucket) throw notEtcd(`bucket ${name} holds a bucket`);
    bytes += key.length + value.length;
    if (bytes > MAX_BUCKET_BYTES) throw notEtcd(`bucket ${name} is larger than ${MAX_BUCKET_BYTES} bytes`);
    entries.push({ key: Buffer.from(key), value: Buffer.from(value) });
  }
  return entries;
}

/**
 * The last look before anything is made of a database: what the manifest or a glimpse could not tell.
 * @throws WardenError `newer-schema`, `refused` when the release would not start on it, or it is of a member that etcd called corrupt
 */
export async function requireStartable(
  db: Bolt,
  head: Head,
  { minor, acceptSuspect }: { readonly minor: EtcdMinor; readonly acceptSuspect: boolean },
  signal?: AbortSignal,
): Promise<void> {
  requireKnownSchema(head, 'a cluster restored from it');
  const clusterVersion = (await entriesOf(db, 'cluster', signal)).find(({ key }) => key.toString() === 'clusterVersion')?.value.toString();
  for (const [what, version] of [
    ['its storage version', head.storageVersion],
    ['its cluster version', clusterVersion],
    ['its schema', head.etcdSchema === '3.5' ? '3.5.0' : undefined],
  ] as const) {
    const match = /^3\.(\d{1,6})\./.exec(version ?? '');
    if (match !== null && Number(match[1]) > Number(minor.slice(2)))
      throw new WardenError('refused', `${what} is ${version}, and etcd ${minor} does not start on what a newer one left`, {
        hint: `restore it for etcd 3.${match[1]}`,
      });
  }
  const corrupt = head.alarms.filter(({ type }) => type === 'CORRUPT');
  if (corrupt.length > 0 && !acceptSuspect)
    throw new WardenError(
      'refused',
      `the CORRUPT alarm of member ${corrupt.map(({ memberId }) => memberId.toString(16)).join(', ')} was armed when this was taken: its members did not hold the same`,
      { hint: 'restore another backup; `--accept-suspect` restores this one all the same, and drops the alarm' },
    );
}

function bigEndian(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
