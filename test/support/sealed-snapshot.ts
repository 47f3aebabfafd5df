/** A small snapshot of etcd as it lies in a store: a random history in a bbolt file, its trailer, compressed and perhaps encrypted. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSealer, type SealedFigures } from '../../src/archive/sealer.ts';
import type { Manifest } from '../../src/format/types.ts';
import { encodeRevision } from '../../src/mvcc/revision.ts';
import { keyOfData, seedBackup } from './backups.ts';
import { boltFile } from './bolt-file.ts';
import { naiveHashKv, randomHistory, stateAt, type ModelHistory } from './history.ts';
import type { ManifestFields } from './manifests.ts';
import type { MemoryStore } from './memory-store.ts';
import { seeded } from './random.ts';

export interface SealedSnapshot {
  readonly history: ModelHistory;
  /** Database and trailer. */
  readonly plain: Buffer;
  readonly stored: Buffer;
  /** What a manifest of it says; proved by a member named m2. */
  readonly fields: ManifestFields;
}

export interface SnapshotOptions {
  readonly seed?: number;
  /** age recipients. */
  readonly recipients?: readonly string[];
  /** Changes the database before its trailer is made: what a member with a broken disk sends. */
  readonly damage?: (database: Buffer) => void;
  /** As 3.6 and later write it. */
  readonly storageVersion?: string;
}

export async function sealedSnapshot({ seed = 3, recipients = [], damage, storageVersion }: SnapshotOptions = {}): Promise<SealedSnapshot> {
  const history = randomHistory({ random: seeded(seed), steps: 60, compaction: 'finished' });
  const database = databaseOf(history, storageVersion);
  damage?.(database);
  const plain = Buffer.concat([database, createHash('sha256').update(database).digest()]);
  const { stored, figures } = await seal(plain, recipients);
  return { history, plain, stored, fields: fieldsOf(history, plain, figures) };
}

/** Puts it into each store with a manifest of its own. */
export function seedSnapshot(stores: readonly MemoryStore[], { stored, fields }: SealedSnapshot, more: ManifestFields = {}): Manifest {
  const manifest = seedBackup(stores, { ...fields, ...more });
  for (const store of stores) store.objects.set(keyOfData(manifest), { body: Buffer.from(stored), modified: new Date(manifest.time) });
  return manifest;
}

function databaseOf(history: ModelHistory, storageVersion: string | undefined): Buffer {
  const mark = (main: bigint): Buffer => encodeRevision({ main, sub: 0n, tombstone: false });
  const compaction = history.compactRevision > 0n ? mark(history.compactRevision) : undefined;
  const marks =
    compaction === undefined ? [] : (['finishedCompactRev', 'scheduledCompactRev'] as const).map((name) => [name, compaction] as const);
  const meta = storageVersion === undefined ? marks : [...marks, ['storageVersion', storageVersion] as const];
  const key = history.records.map((record) => [record.key, record.value] as const);
  return boltFile({ key, meta, alarm: [] }, { fanout: 4, inlineBytes: 0 }).bytes;
}

async function seal(plain: Buffer, recipients: readonly string[]): Promise<{ stored: Buffer; figures: SealedFigures }> {
  const folder = mkdtempSync(join(tmpdir(), 'sealed-'));
  try {
    const { signal } = new AbortController();
    const sealer = await createSealer({ spoolPath: join(folder, 'spool'), maxPlainBytes: plain.length, recipients, signal });
    await sealer.write(plain);
    const figures = await sealer.finish();
    const stored = readFileSync(sealer.spool.path);
    await sealer.abort();
    return { stored, figures };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function fieldsOf({ records, changes, revision, compactRevision }: ModelHistory, plain: Buffer, figures: SealedFigures): ManifestFields {
  const compact = compactRevision === 0n ? -1n : compactRevision;
  return {
    revision: String(revision),
    compactRevision: String(compactRevision),
    plain: { bytes: plain.length, sha256: figures.plainSha256, databaseSha256: plain.subarray(-32).toString('hex') },
    stored: {
      bytes: figures.storedBytes,
      sha256: figures.storedSha256,
      crc32: figures.storedCrc32,
      compression: 'zstd-seekable',
      encryption: figures.encryption,
    },
    keyCount: stateAt(changes, revision).size,
    proof: {
      revision: String(revision),
      compactRevision: String(compact),
      hash: naiveHashKv(records, revision, compact),
      members: ['m2'],
    },
  };
}
