import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { takeSnapshot } from '../../../src/archive/intake.ts';
import { openPath, openSealed } from '../../../src/archive/open.ts';
import { createSealer, type SealedFigures, type SealedSpool } from '../../../src/archive/sealer.ts';
import { openBolt } from '../../../src/boltdb/bolt.ts';
import { MemberClient } from '../../../src/etcd/member.ts';
import { type Head, readHead } from '../../../src/mvcc/head.ts';
import { ETCD_MINORS, program, type EtcdMinor } from '../../../tools/programs.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { run } from '../../support/processes.ts';
import { encode } from '../../support/wire.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const { signal } = new AbortController();
const folder = temporaryFolder('snapshots');
const keyFile = join(folder, 'key.txt');
afterAll(() => removeFolder(folder));

interface Taken {
  readonly figures: SealedFigures;
  readonly sealed: SealedSpool;
  readonly head: Head;
  readonly databaseBytes: number;
  readonly databaseSha256: string;
}

/** One backup's hot path: stream, checks, seal, revision from the file. The revision is read while the writers still write. */
async function take(cluster: Cluster, name: string, recipients: readonly string[]): Promise<Taken> {
  const client = new MemberClient(cluster.access(), cluster.endpoints[0]!);
  try {
    const sealer = await createSealer({ spoolPath: join(folder, name), maxPlainBytes: 2 ** 28, recipients, signal });
    const intake = await takeSnapshot(client.snapshot({ signal }), sealer, { signal });
    const figures = await sealer.finish();
    const open = await openSealed(sealer.sealed());
    const db = await openBolt(open);
    expect(db.length + 32).toBe(figures.plainBytes);
    const head = await readHead(db);
    await open.close();
    return { figures, sealed: sealer.sealed(), head, ...intake };
  } finally {
    client.close();
  }
}

/** What etcd's own tool says of a plain file. */
async function snapshotStatus(minor: EtcdMinor, path: string): Promise<{ revision: bigint; totalSize: number }> {
  const tool = minor === '3.4' ? program('etcdctl', minor) : program('etcdutl', minor);
  const status = JSON.parse(await run(tool, ['snapshot', 'status', path, '-w', 'json'])) as { revision: number; totalSize: number };
  return { revision: BigInt(status.revision), totalSize: status.totalSize };
}

describe.each(ETCD_MINORS)('snapshots of etcd %s', (minor) => {
  test('regression #844: under continuous writes the revision that is read is the one inside the file; recovered by hand with age, zstd and etcdutl', async () => {
    await run(program('age-keygen'), ['-o', join(folder, `${minor}.txt`)]);
    writeFileSync(keyFile, readFileSync(join(folder, `${minor}.txt`)));
    const recipient = (await run(program('age-keygen'), ['-y', keyFile])).trim();
    await using cluster = await startCluster({ minor });
    await cluster.fill({ keys: 3000, valueBytes: 2000 });
    await cluster.etcdctl(['compact', '20']);
    const writer = cluster.writer({ perSecond: 400 });
    const leader = await cluster.leader();
    const seen: bigint[] = [];
    for (const [round, recipients] of [[], [recipient], []].entries()) {
      const before = (await leader.status()).revision;
      const taken = await take(cluster, `${minor}-${round}.db.zst${recipients.length > 0 ? '.age' : ''}`, recipients);
      const after = (await leader.status()).revision;
      expect(taken.head.revision).toBeGreaterThanOrEqual(before);
      expect(taken.head.revision).toBeLessThanOrEqual(after);
      expect(taken.head.compactRevision).toBe(20n);
      expect(taken.head.alarms).toEqual([]);
      seen.push(taken.head.revision);

      const path = taken.sealed.path.replace(/\.age$/u, '');
      if (recipients.length > 0) await run(program('age'), ['-d', '-i', keyFile, '-o', path, taken.sealed.path]);
      await run(program('zstd'), ['-q', '-d', path]);
      const plain = path.replace(/\.zst$/u, '');
      expect(await snapshotStatus(minor, plain)).toEqual({ revision: taken.head.revision, totalSize: taken.databaseBytes });
      const tool = minor === '3.4' ? program('etcdctl', minor) : program('etcdutl', minor);
      await run(tool, ['snapshot', 'restore', plain, '--data-dir', join(folder, `${minor}-${round}.restored`)]); // compares the trailer
      expect(readFileSync(plain).subarray(-32).toString('hex')).toBe(taken.databaseSha256);
      const open = await openPath(plain, { signal });
      expect(await readHead(await openBolt(open))).toEqual(taken.head);
      await open.close();
    }
    expect((await writer.stop()).failed).toBe(0);
    expect(seen[2]).toBeGreaterThan(seen[0]!);
  });

  test('fault 17: an empty cluster, zero-byte values, keys that are no text and a value of 1.4 MiB', async () => {
    await using cluster = await startCluster({ minor });
    const empty = await take(cluster, `${minor}-empty`, []);
    expect(empty.head).toMatchObject({
      revision: 1n,
      compactRevision: 0n,
      etcdSchema: minor === '3.4' ? '3.4' : minor === '3.5' ? '3.5' : '3.6+',
    });
    expect(empty.head.consistentIndex ?? 1n).toBeGreaterThan(0n); // 3.4 writes none before the first put
    expect(empty.head.term === undefined).toBe(minor === '3.4');
    await cluster.etcdctl(['put', '--', 'zero', '']);
    await cluster.members[0]!.rpc.call('etcdserverpb.KV/Put', encode([1, Buffer.from([0xff, 0x00, 0xe2])], [2, Buffer.from('x')]), {
      timeoutMs: 5000,
    });
    await cluster.etcdctl(['put', 'large'], { input: Buffer.alloc(1_400_000, 'v') });
    const { head } = await take(cluster, `${minor}-odd`, []);
    expect(head.revision).toBe((await (await cluster.leader()).status()).revision);
    expect(head.revision).toBe(4n);
  });

  test('fault 10: the NOSPACE alarm is read from the file, with the member that raised it', async () => {
    await using cluster = await startCluster({ minor });
    await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
    const { head } = await take(cluster, `${minor}-alarm`, []);
    expect(head.alarms).toEqual([{ memberId: (await cluster.members[0]!.status()).memberId, type: 'NOSPACE' }]);
  });

  test('a store that was compacted to its last revision and emptied keeps its revision', async () => {
    await using cluster = await startCluster({ minor });
    await cluster.fill({ keys: 50, valueBytes: 10 });
    await cluster.etcdctl(['del', '', '--prefix']);
    const revision = (await (await cluster.leader()).status()).revision;
    await cluster.etcdctl(['compact', '--physical', String(revision)]);
    const { head } = await take(cluster, `${minor}-compacted`, []);
    expect(head).toMatchObject({ revision, compactRevision: revision });
  });
});
