/** A cluster whose databases hold as much that can be given back, time and again: each contestant finds the same. */
import type { Cluster } from '../test/support/cluster.ts';
import { until } from '../test/support/processes.ts';

const VALUE_BYTES = 10 * 1024;
/** A value of 10 KiB takes three pages of bbolt. */
const STORED_BYTES = 3 * 4096;
const GIB = 1024 ** 3;
/** Of the wanted size: what is there once. The rest is written over and compacted away. */
const LIVE_SHARE = 0.6;
/** In use does not fall any more for so many looks in a row; what writers add and a transaction frees is less than this. */
const STILL_LOOKS = 4;
const STILL_BYTES = 256 * 1024;
const LOOK_MS = 400;

/** Keys of about `gib` x 0.6 in all; nothing to be given back yet. */
export async function fillLive(cluster: Cluster, gib: number): Promise<void> {
  await cluster.fill({ keys: keysOf(gib * LIVE_SHARE), valueBytes: VALUE_BYTES, seed: 1 });
}

/**
 * Writes so many of them over that each database has about `gib`, four tenths of it free.
 * @param seed another one each time
 * @throws Error when less than a third can be given back anywhere
 */
export async function fragment(cluster: Cluster, gib: number, seed: number): Promise<void> {
  const { revision } = await cluster.fill({ keys: keysOf(gib * (1 - LIVE_SHARE)), valueBytes: VALUE_BYTES, seed });
  await cluster.etcdctl(['compact', '--physical', String(revision)], { timeoutMs: 120_000 });
  await compacted(cluster);
  for (const member of cluster.members) {
    const { dbSize, dbSizeInUse } = await member.status();
    if (dbSize - dbSizeInUse < dbSize / 3)
      throw new Error(`${member.name} has ${dbSizeInUse} of ${dbSize} bytes in use: too little to give back`);
  }
}

/** etcd waits for the member alone that it asked; the others may still be at it. */
export async function compacted(cluster: Cluster): Promise<void> {
  let last: readonly number[] = [];
  let still = 0;
  await until(
    async () => {
      const now = (await Promise.all(cluster.members.map((member) => member.status()))).map(({ dbSizeInUse }) => dbSizeInUse);
      still = now.every((bytes, index) => bytes > (last[index] ?? Infinity) - STILL_BYTES) ? still + 1 : 0;
      last = now;
      return still >= STILL_LOOKS;
    },
    'a compaction does not end',
    { timeoutMs: 300_000, everyMs: LOOK_MS },
  );
}

function keysOf(gib: number): number {
  return Math.round((gib * GIB) / STORED_BYTES);
}
