import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import manifest from '../tools/setup/manifest.cjs';
import { startCluster, type Cluster } from '../test/support/cluster.ts';
import { run } from '../test/support/processes.ts';

/** Part of the folder's name: change it with anything that changes the data. */
const RECIPE = 'r1';
const VALUE_BYTES = 10 * 1024;
const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const QUOTA = 16 * GIB;
/** Opening walks the whole tree and reads every key. */
const START_TIMEOUT_MS = 180_000;
/**
 * Keep the raft log short: at its defaults etcd would hold the gigabytes just written in its memory and its WAL, and read them again at each start.
 */
const FLAGS = ['--snapshot-count=100', '--snapshot-catchup-entries=10'];

/** Everything of the benchmarks lies on one disk: databases, backups, the buckets of the S3 gateway. */
export function benchFolder(): string {
  const folder = join(manifest.cacheFolder(), 'bench');
  mkdirSync(folder, { recursive: true });
  return folder;
}

/**
 * A member of etcd 3.6 with a database of about so many GiB, whose values compress about five to one. Made once per machine and kept, since
 * filling takes minutes; a sparse one has the data of the 2 GiB one and free pages after it.
 */
export async function startWithDatabase(gib: number, options: { sparse?: boolean } = {}): Promise<Cluster> {
  return startOver(options.sparse === true ? await sparseData(gib) : await filledData(gib));
}

async function startOver(dataDir: string): Promise<Cluster> {
  const cluster = await startCluster({
    minor: '3.6',
    dataDir,
    dataRoot: benchFolder(),
    quotaBackendBytes: QUOTA,
    flags: FLAGS,
    fsync: true,
    startTimeoutMs: START_TIMEOUT_MS,
  });
  // The data is used in place: a backup that was killed in an earlier run has left its lock here.
  await cluster.etcdctl(['del', '--prefix', '/etcd-warden/']);
  return cluster;
}

async function filledData(gib: number): Promise<string> {
  const folder = join(benchFolder(), `etcd-3.6-${gib}gib-${RECIPE}`);
  if (existsSync(folder)) return folder;
  const making = `${folder}.making`;
  rmSync(making, { recursive: true, force: true });
  // Each value begins a page of 4 KiB of its own and fills three.
  const keys = Math.round((gib * GIB) / (3 * 4096));
  console.log(`filling a database of ${gib} GiB, once: ${keys} keys of ${VALUE_BYTES} bytes`);
  const cluster = await startCluster({ minor: '3.6', dataDir: making, dataRoot: benchFolder(), quotaBackendBytes: QUOTA, flags: FLAGS });
  let reported = 0;
  try {
    await cluster.fill({
      keys,
      valueBytes: VALUE_BYTES,
      onProgress(done) {
        if (done - reported < keys / 10) return;
        reported = done;
        console.log(`  ${Math.round((done / keys) * 100)} %`);
      },
    });
    console.log(`  ${(await cluster.members[0]!.status()).dbSize / MIB} MiB`);
  } finally {
    await cluster.stop();
  }
  renameSync(making, folder);
  return folder;
}

/** The three databases that deep reading is measured on. */
export type Kind = 'large values' | 'small values' | 'churned';
export const KINDS: readonly Kind[] = ['large values', 'small values', 'churned'];

/** A member of etcd 3.6 with one of them: 2 GiB of 10 KiB values; 2 million keys of 400 bytes; 2 GiB of which most was rewritten several times. */
export async function startWithKind(kind: Kind): Promise<Cluster> {
  if (kind === 'large values') return startWithDatabase(2);
  return startOver(kind === 'small values' ? await smallValues() : await churned());
}

/** Key and value take 400 bytes. */
function smallValues(): Promise<string> {
  return madeOnce('small', 'a database of 2 million keys of 400 bytes', async (cluster) => {
    await cluster.fill({ keys: 2_000_000, valueBytes: 386, prefix: '/fill/' });
  });
}

/**
 * Four fifths of the keys are rewritten in another order each time, and what was before is compacted away: new pages take the place of free ones
 * all over the file. The last round is not compacted, so that it holds history.
 */
function churned(): Promise<string> {
  return madeOnce('churned', 'a churned database of 2 GiB', async (cluster) => {
    const keys = 130_000;
    const step = 10;
    await cluster.fill({ keys, valueBytes: VALUE_BYTES, prefix: '/fill/' });
    for (let round = 0; round < 4; round++) {
      const rewritten = Array.from({ length: step }, (_, part) => (part * 7 + round * 3) % step).filter((part) => part % 5 !== 4);
      let revision = 0n;
      for (const part of rewritten) {
        const first = part * (keys / step);
        ({ revision } = await cluster.fill({ keys: keys / step, first, valueBytes: VALUE_BYTES, prefix: '/fill/', seed: round + 2 }));
        // As an API server does, every five minutes: far more often than everything is rewritten.
        if (round < 3 || part === rewritten[1]) await cluster.etcdctl(['compact', '--physical', String(revision)], { timeoutMs: 120_000 });
      }
      console.log(`  round ${round + 1} of 4: revision ${revision}, ${(await cluster.members[0]!.status()).dbSize / MIB} MiB`);
    }
  });
}

async function madeOnce(name: string, what: string, make: (cluster: Cluster) => Promise<void>): Promise<string> {
  const folder = join(benchFolder(), `etcd-3.6-${name}-${RECIPE}`);
  if (existsSync(folder)) return folder;
  const making = `${folder}.making`;
  rmSync(making, { recursive: true, force: true });
  console.log(`filling ${what}, once`);
  const cluster = await startCluster({ minor: '3.6', dataDir: making, dataRoot: benchFolder(), quotaBackendBytes: QUOTA, flags: FLAGS });
  try {
    await make(cluster);
  } finally {
    await cluster.stop();
  }
  renameSync(making, folder);
  return folder;
}

async function sparseData(gib: number): Promise<string> {
  const folder = join(benchFolder(), `etcd-3.6-${gib}gib-sparse-${RECIPE}`);
  if (existsSync(folder)) return folder;
  const full = await filledData(2);
  const making = `${folder}.making`;
  rmSync(making, { recursive: true, force: true });
  await run('cp', ['--archive', '--reflink=auto', full, making], { timeoutMs: 600_000 });
  raiseHighWaterMark(join(making, 'member/snap/db'), gib * GIB);
  renameSync(making, folder);
  return folder;
}

/**
 * Lets a bbolt file end at so many bytes, by its high-water mark: everything behind the last page in use is free. etcd stores no list of free
 * pages, so it finds that out when it opens the file. Layout: bbolt internal/common/meta.go and page.go, version 2, little-endian.
 */
export function raiseHighWaterMark(file: string, bytes: number): void {
  const handle = openSync(file, 'r+');
  const header = Buffer.alloc(16 + 64);
  readSync(handle, header, 0, header.length, 0);
  const pageSize = header.readUInt32LE(16 + 8);
  ftruncateSync(handle, bytes);
  for (const page of [0, 1]) {
    readSync(handle, header, 0, header.length, page * pageSize);
    const meta = header.subarray(16);
    if (meta.readUInt32LE(0) !== 0xed0cdaed || meta.readUInt32LE(4) !== 2)
      throw new Error(`${file}: page ${page} is no meta page of bbolt`);
    meta.writeBigUInt64LE(BigInt(bytes / pageSize), 40);
    meta.writeBigUInt64LE(fnv1a(meta.subarray(0, 56)), 56);
    writeSync(handle, header, 0, header.length, page * pageSize);
  }
  closeSync(handle);
}

/** FNV-1a of 64 bits, which bbolt puts at the end of a meta page. */
function fnv1a(data: Buffer): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of data) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

/** The bytes of all files under a folder. */
export function bytesUnder(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
