/** A backup as a stranger gets it back: zstd and etcdutl, nothing of ours. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { program } from '../../tools/programs.ts';
import type { Manifest } from '../../src/format/types.ts';
import { startCluster, type Cluster } from './cluster.ts';
import { run } from './processes.ts';

/** What names one backup in a local store. */
export interface Published {
  readonly id: string;
  readonly revision: string;
}

/** @param disk folder of the local store */
export function readManifest(disk: string, { id, revision }: Published, cluster = 'main'): Manifest {
  return JSON.parse(readFileSync(join(disk, cluster, `${id}.r${revision}.json`), 'utf8')) as Manifest;
}

/** Unpacks the data object into `path`, as `etcdctl snapshot save` would have written it. */
export async function recoverFile(disk: string, { id }: Published, path: string, cluster = 'main'): Promise<void> {
  await run(program('zstd'), ['-q', '-d', '-f', join(disk, cluster, `${id}.db.zst`), '-o', path]);
}

/** What etcdutl reads in the file. */
export async function snapshotStatus(path: string): Promise<{ revision: number; totalKey: number }> {
  return JSON.parse(await run(program('etcdutl', '3.6'), ['snapshot', 'status', path, '--write-out=json'])) as {
    revision: number;
    totalKey: number;
  };
}

/** Restores the file with etcdutl, which compares its hash, and starts etcd on it. */
export async function startRestored(path: string, dataDir: string): Promise<Cluster> {
  await run(program('etcdutl', '3.6'), ['snapshot', 'restore', path, '--data-dir', dataDir]);
  return startCluster({ minor: '3.6', members: 1, dataDir, flags: ['--force-new-cluster'] });
}
