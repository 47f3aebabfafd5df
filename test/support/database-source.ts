/** A plain snapshot file as a source of a restore, without stores or jobs; and a data directory around a database that was built. */
import { createHash } from 'node:crypto';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BuiltDatabase, Content, EtcdMinor, NewCluster, RestoreContext, RestoreSource } from '../../src/restore/types.ts';
import type { Backup } from '../../src/catalog/types.ts';
import type { Manifest, Proof } from '../../src/format/types.ts';
import { buildDatabase } from '../../src/restore/database/build.ts';
import { encodeSnap, snapFileName } from '../../src/restore/directory/snap.ts';
import { encodeWal, WAL_FILE_BYTES, WAL_FILE_NAME } from '../../src/restore/directory/wal.ts';
import { silentLogger } from '../../src/telemetry/logger.ts';

const TRAILER = 32;

export const WHOLE: Content = { revision: undefined, only: [], without: [], defragmented: false, bump: 'none' };

export function restoreContext(signal: AbortSignal = new AbortController().signal): RestoreContext {
  return { logger: silentLogger, signal, progress: () => undefined, now: () => new Date() };
}

export interface SourceOptions {
  readonly proof?: Proof;
  /** What its backup's manifest says. */
  readonly manifest?: Manifest;
  readonly encrypted?: boolean;
  /** Called with each block before it is handed over, to break off or to damage. */
  readonly onBlock?: (at: number) => void;
  /** How often what was poured is taken back. */
  readonly restarts?: number;
}

/** @param snapshot with its trailer */
export function snapshotSource(snapshot: Buffer, options: SourceOptions = {}): RestoreSource {
  const database = snapshot.subarray(0, snapshot.length - TRAILER);
  const databaseSha256 = createHash('sha256').update(database).digest('hex');
  return {
    name: 'snapshot.db',
    backup: options.manifest === undefined ? undefined : ({ manifest: options.manifest } as Backup),
    identity: databaseSha256,
    databaseBytes: database.length,
    proof: options.proof,
    encrypted: options.encrypted === true,
    kubernetes: undefined,
    async pour(sink, signal) {
      for (let round = options.restarts ?? 0; round >= 0; round -= 1) {
        const end = round > 0 ? database.length / 2 : database.length;
        for (let at = 0; at < end; at += 100_000) {
          signal.throwIfAborted();
          options.onBlock?.(at);
          await sink.write(Buffer.from(database.subarray(at, Math.min(at + 100_000, database.length))));
        }
        if (round > 0) await sink.restart();
      }
      return { databaseBytes: database.length, databaseSha256, compared: true, store: undefined };
    },
    close: () => Promise.resolve(),
  };
}

/** The data directory of one member around a new database. */
export async function buildDataDir(options: {
  readonly source: RestoreSource;
  readonly dataDir: string;
  readonly member: string;
  readonly cluster: NewCluster;
  readonly minor: EtcdMinor;
  readonly content: Content;
  readonly acceptSuspect?: boolean;
}): Promise<BuiltDatabase> {
  const { source, dataDir, member, cluster, minor, content, acceptSuspect = false } = options;
  const [snap, wal] = [join(dataDir, 'member/snap'), join(dataDir, 'member/wal')];
  for (const folder of [snap, wal]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(snap, 'db');
  const built = await buildDatabase({ source, path, cluster, content, minor, acceptSuspect, scratchFolder: dataDir }, restoreContext());
  const own = cluster.members.find(({ name }) => name === member)!;
  writeFileSync(join(wal, WAL_FILE_NAME), encodeWal(own, cluster, minor), { mode: 0o600 });
  truncateSync(join(wal, WAL_FILE_NAME), WAL_FILE_BYTES);
  writeFileSync(join(snap, snapFileName(cluster)), encodeSnap(cluster, minor), { mode: 0o600 });
  return built;
}
