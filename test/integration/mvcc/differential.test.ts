/** What src/mvcc reads from a file, against what the servers and the tools of etcd say of the same data, on every minor version. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OpenFile, openFile } from '../../../src/archive/file-access.ts';
import { createScratch } from '../../../src/archive/scratch.ts';
import { type Bolt, openBolt } from '../../../src/boltdb/bolt.ts';
import { authOf } from '../../../src/mvcc/auth.ts';
import { checkContinuity } from '../../../src/mvcc/continuity.ts';
import { createRunningSum } from '../../../src/mvcc/crc32c/running-sum.ts';
import { createExamination } from '../../../src/mvcc/examination/examination.ts';
import type { Examined } from '../../../src/mvcc/examination/types.ts';
import { hashKv } from '../../../src/mvcc/hash-kv.ts';
import { type Head, readHead } from '../../../src/mvcc/head.ts';
import { parseKeyValue } from '../../../src/mvcc/key-value.ts';
import { leasesOf } from '../../../src/mvcc/leases.ts';
import { membersOf } from '../../../src/mvcc/members.ts';
import { recordsOf } from '../../../src/mvcc/records.ts';
import type { RecordSource } from '../../../src/mvcc/source.ts';
import { countKeys, keyAt, liveRecords } from '../../../src/mvcc/state.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { type Random, seeded } from '../../support/random.ts';
import { run } from '../../support/processes.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { bytes, encode, integer, type Message, messages } from '../../support/wire.ts';

const folder = temporaryFolder('mvcc');
afterAll(() => removeFolder(folder));

const MIB_AND_A_HALF = 1.5 * 2 ** 20;
/** Not UTF-8, next to each other and inside each other. */
const KEYS = ['a', 'a\0', 'aa', 'b/1', 'b/2', 'b/3', '\xff', '\xff\xfe', '\0', 'dir/x', 'dir/y', 'dir/z', 'zz'];

/** One snapshot as a file, opened. */
interface Taken {
  readonly path: string;
  readonly db: Bolt;
  readonly head: Head;
  readonly source: RecordSource;
  readonly examined: Examined;
}

interface ServerHash {
  readonly hash: number;
  readonly compactRevision: bigint;
}

/** The few calls that write a history, in etcd's own messages. */
function writer(cluster: Cluster, random: Random) {
  const call = (method: string, request: Buffer): Promise<Message> =>
    cluster.members[0]!.rpc.call(`etcdserverpb.${method}`, request, { timeoutMs: 20_000 });
  const key = (): Buffer => Buffer.from(KEYS[random.below(KEYS.length)]!, 'latin1');
  const revisionOf = (reply: Message): bigint => integer(messages(reply, 1)[0]!, 3);
  const putRequest = (name: Buffer, value: Buffer, lease = 0n): Buffer => encode([1, name], [2, value], [3, lease]);

  async function put(name: Buffer | string, value: Buffer, lease = 0n): Promise<bigint> {
    return revisionOf(await call('KV/Put', putRequest(Buffer.from(name as Buffer), value, lease)));
  }
  /** A transaction over several keys, puts and deletes mixed; each key once. */
  async function transaction(): Promise<void> {
    const names = [...new Set(Array.from({ length: 4 }, () => KEYS[random.below(KEYS.length)]!))].map((name) =>
      Buffer.from(name, 'latin1'),
    );
    const operations = names.map((name): Buffer =>
      random.below(3) === 0 ? encode([3, encode([1, name])]) : encode([2, putRequest(name, random.fill(Buffer.alloc(random.below(2000))))]),
    );
    await call('KV/Txn', encode(...operations.map((each) => [2, each] as const)));
  }
  async function grant(id: bigint, seconds: number): Promise<void> {
    await call('Lease/LeaseGrant', encode([1, seconds], [2, id]));
  }
  /** Puts, deletes of one and of several keys, transactions. */
  async function mixed(steps: number): Promise<void> {
    for (let i = 0; i < steps; i += 1) {
      const kind = random.below(10);
      if (kind < 5) await put(key(), random.fill(Buffer.alloc([0, 10, 200, 5000][random.below(4)]!)));
      else if (kind < 6) await call('KV/DeleteRange', encode([1, key()]));
      else if (kind < 7) await call('KV/DeleteRange', encode([1, 'b/'], [2, 'b0']));
      else await transaction();
    }
  }

  return {
    call,
    put,
    mixed,
    grant,
    revoke: (id: bigint): Promise<Message> => call('Lease/LeaseRevoke', encode([1, id])),
    remove: async (name: string): Promise<bigint> => revisionOf(await call('KV/DeleteRange', encode([1, name]))),
    compact: (revision: bigint, physical: boolean): Promise<Message> => call('KV/Compact', encode([1, revision], [2, physical])),
    revision: async (): Promise<bigint> => (await cluster.members[0]!.status()).revision,
    /** Undefined when the server refuses the revision: the oldest releases do so at the compact revision itself. */
    async hash(revision: bigint): Promise<ServerHash | undefined> {
      const reply = await call('Maintenance/HashKV', encode([1, revision])).catch((error: Error) => {
        if (!error.message.includes('compacted')) throw error;
        return undefined;
      });
      return reply === undefined ? undefined : { hash: Number(integer(reply, 2)), compactRevision: BigInt.asIntN(64, integer(reply, 3)) };
    },
    /** Every key with its record at a revision. */
    async range(revision: bigint): Promise<Message[]> {
      return messages(await call('KV/Range', encode([1, Buffer.alloc(1)], [2, Buffer.alloc(1)], [4, revision])), 2);
    },
  };
}

function describeRecord(record: Message): string {
  return [
    bytes(record, 1).toString('hex'),
    ...[2, 3, 4, 6].map((field) => integer(record, field)),
    bytes(record, 5).toString('base64').slice(0, 60),
  ].join(' ');
}

/** Through scratch for some of the questions, so that both ways are held against the server. */
async function fileHash({ source, head }: Taken, revision: bigint, compactRevision: bigint): Promise<number> {
  const spill = revision % 4n === 0n ? { scratch: createScratch(folder, { encrypted: revision % 8n === 0n }), limitBytes: 0 } : {};
  return hashKv(source, { revision, compactRevision, compactionFinished: head.compactionFinished, seed: Number(revision), ...spill });
}

/** The examination in file order, given the file in pieces as a store hands them out. */
async function examine(path: string): Promise<Examined> {
  const examination = await createExamination({ scratch: createScratch(folder, { encrypted: false }), heldBytes: 0 });
  const file = await openFile(path);
  try {
    const { signal } = new AbortController();
    for (let at = 0; at < file.size; at += 300_000) examination.write(await file.read(at, Math.min(300_000, file.size - at)));
    const { hashKv: hash, ...found } = await examination.finish(file, signal);
    // What it needs is there only as long as the examination is open.
    const hashes = new Map<bigint, number>();
    for (let c = found.head.compactRevision || -1n; c <= found.head.revision; c += 1n) hashes.set(c, await hash(c, signal));
    return { ...found, hashKv: (compactRevision) => Promise.resolve(hashes.get(compactRevision)!) };
  } finally {
    await file.close();
    await examination.close();
  }
}

/** CRC32C over the name of each bucket and its entries: what `snapshot status` shows, and the number of records of all buckets. */
async function statusOf(db: Bolt): Promise<{ hash: number; entries: number }> {
  const sum = createRunningSum();
  let entries = 0;
  for (const name of await db.bucketNames()) {
    sum.update(Buffer.from(name));
    for await (const batch of (await db.bucket(name))!.batches()) {
      for (const { key, value } of batch) {
        sum.update(key);
        sum.update(value);
        entries += 1;
      }
    }
  }
  return { hash: sum.digest(), entries };
}

describe.each(ETCD_MINORS)('etcd %s', (minor) => {
  let cluster: Cluster;
  let etcd: ReturnType<typeof writer>;
  const opened: OpenFile[] = [];
  let empty: Taken;
  let emptyHash: number | undefined;
  let before: Taken;

  beforeAll(async () => {
    const name = minor < '3.6' ? 'experimental-compaction-batch-limit' : 'compaction-batch-limit';
    // A few records a batch and a pause of 10 ms behind each: long enough for a snapshot in the midst of it.
    cluster = await startCluster({ minor, flags: [`--${name}=6`, '--max-request-bytes=2097152'] });
    etcd = writer(cluster, seeded(Number(minor.slice(2))));
    empty = await take();
    emptyHash = (await etcd.hash(1n))?.hash;
    await etcd.mixed(120);
    await etcd.put('large', Buffer.alloc(MIB_AND_A_HALF, 'l'));
    await etcd.put('empty', Buffer.alloc(0));
    await etcd.remove('a');
    await etcd.put('a', Buffer.from('back again'));
    await etcd.mixed(20);
    before = await take();
  });
  afterAll(async () => {
    await cluster?.stop();
    for (const file of opened) await file.close();
  });

  async function take(): Promise<Taken> {
    const path = join(folder, `${minor}-${opened.length}.db`);
    await cluster.etcdctl(['snapshot', 'save', path]);
    return open(path);
  }

  async function open(path: string): Promise<Taken> {
    const file = await openFile(path);
    opened.push(file);
    const db = await openBolt(file);
    const [head, source, examined] = [await readHead(db), await recordsOf(db), await examine(path)];
    expect(examined.head).toEqual(head);
    expect(examined.keyCount).toBe(await countKeys(source, head, head.revision));
    return { path, db, head, source, examined };
  }

  /** The hash of file and server at each revision that both hold. @returns how many were compared */
  async function compareHashes(taken: Taken, revisions: readonly bigint[]): Promise<number> {
    let compared = 0;
    for (const revision of revisions) {
      const server = await etcd.hash(revision);
      // After a compaction at N a server may answer for N with what it had computed before it.
      if (server === undefined || server.compactRevision < (taken.head.compactRevision || -1n)) continue;
      const { compactRevision } = server;
      expect(await fileHash(taken, revision, compactRevision), `${taken.path}: R=${revision} C=${compactRevision}`).toBe(server.hash);
      if (revision === taken.head.revision)
        expect(await taken.examined.hashKv(compactRevision, new AbortController().signal), `C=${compactRevision}`).toBe(server.hash);
      compared += 1;
    }
    return compared;
  }

  async function compareStates({ source, head }: Taken, revisions: readonly bigint[]): Promise<void> {
    for (const revision of revisions) {
      const server = await etcd.range(revision);
      expect(await countKeys(source, head, revision)).toBe(server.length);
      const found: string[] = [];
      for await (const batch of liveRecords(source, head, revision))
        found.push(
          ...batch
            .map(({ value }) => parseKeyValue(value))
            .map(({ key, createRevision, modRevision, version, lease, value }) =>
              [key.toString('hex'), createRevision, modRevision, version, lease, value.toString('base64').slice(0, 60)].join(' '),
            ),
        );
      expect(found.sort()).toEqual(server.map(describeRecord).sort());
      const one = server[0];
      if (one !== undefined) expect((await keyAt(source, head, bytes(one, 1), revision))?.value).toEqual(bytes(one, 5));
    }
  }

  function some(from: bigint, to: bigint, step = 9n): bigint[] {
    const all: bigint[] = [];
    for (let at = from; at < to; at += step) all.push(at);
    return [...all, to - 1n, to];
  }

  test('HashKV, states and continuity at many revisions of a mixed history that was never compacted', async () => {
    const { revision } = before.head;
    expect(revision).toBe(await etcd.revision());
    expect(before.head.compactRevision).toBe(0n);
    expect(await compareHashes(before, some(2n, revision))).toBeGreaterThan(12);
    expect(await fileHash(empty, 1n, -1n)).toBe(emptyHash);
    expect(await countKeys(empty.source, empty.head, 1n)).toBe(0);
    await compareStates(before, [1n, 50n, revision]);
    expect(await checkContinuity(before.source, 0n)).toBeGreaterThan(140);
  });

  test('`snapshot status` shows the same hash, revision, size and number of keys; `hashkv` the same hash', async () => {
    const tool = program(minor === '3.4' ? 'etcdctl' : 'etcdutl', minor);
    const status = JSON.parse(await run(tool, ['snapshot', 'status', before.path, '-w', 'json'])) as Record<string, number>;
    const { hash, entries } = await statusOf(before.db);
    const { revision } = before.head;
    expect(status).toMatchObject({
      hash,
      revision: Number(revision),
      totalKey: minor < '3.6' ? entries : await countKeys(before.source, before.head, revision),
      totalSize: before.db.length,
    });
    if (minor < '3.6') return;
    for (const asked of [revision, revision - 7n]) {
      // It opens its file for writing, so it gets a copy.
      const copy = join(folder, `${minor}-hashkv.db`);
      copyFileSync(before.path, copy);
      const answer = JSON.parse(await run(tool, ['hashkv', copy, '--rev', String(asked), '-w', 'json'])) as Record<string, number>;
      const compactRevision = BigInt(answer['compactRevision'] ?? answer['compact_revision'] ?? -1);
      expect(answer['hash']).toBe(await fileHash(before, asked, compactRevision));
    }
  });

  test('leases with ids of 63 bits, a revoked one, and the members, as the server has them', async () => {
    const [kept, revoked] = [2n ** 62n + 12_345n, 2n ** 53n + 1n];
    await etcd.grant(kept, 5000);
    await etcd.grant(revoked, 6000);
    await etcd.put('leased', Buffer.from('stays'), kept);
    for (const name of ['gone/1', 'gone/2', 'gone/3']) await etcd.put(name, Buffer.from('goes'), revoked);
    await etcd.revoke(revoked);
    const taken = await take();
    expect(await Array.fromAsync(leasesOf(taken.db))).toEqual([{ id: kept, ttl: 5000n, remaining: 0n }]);
    expect((await keyAt(taken.source, taken.head, Buffer.from('leased'), taken.head.revision))?.lease).toBe(kept);
    const status = await cluster.members[0]!.status();
    const { peer, endpoint } = cluster.members[0]!;
    expect(await membersOf(taken.db)).toEqual({
      members: [{ id: status.memberId, name: 'm1', peerUrls: [peer], clientUrls: [endpoint], isLearner: false }],
      removed: [],
    });
    expect(await compareHashes(taken, some(taken.head.revision - 8n, taken.head.revision, 1n))).toBeGreaterThan(8);
    expect(await checkContinuity(taken.source, 0n)).toBeGreaterThan(140);
  });

  test('a compaction exactly on a tombstone, and the older snapshot against the server that has compacted since', async () => {
    await etcd.put('victim', Buffer.from('x'));
    const tombstone = await etcd.remove('victim');
    await etcd.mixed(60);
    const older = await take();
    await etcd.compact(tombstone, true);
    const { revision } = older.head;
    expect(await compareHashes(older, some(tombstone, revision))).toBeGreaterThan(5);
    const compacted = await take();
    expect(compacted.head).toMatchObject({ compactRevision: tombstone, compactionFinished: tombstone, revision });
    expect(await compareHashes(compacted, some(tombstone, revision))).toBeGreaterThan(5);
    await compareStates(compacted, [tombstone, tombstone + 3n, revision]);
    expect(await checkContinuity(compacted.source, tombstone)).toBeGreaterThan(50);
    await expect(countKeys(compacted.source, compacted.head, tombstone - 1n)).rejects.toMatchObject({ code: 'revision-compacted' });
    // Once more, by part of the way, and with changes since: the older file has records above what its own server has compacted.
    const middle = tombstone + (revision - tombstone) / 2n;
    await etcd.mixed(10);
    await etcd.compact(middle, true);
    for (const taken of [older, compacted]) expect(await compareHashes(taken, some(middle, revision, 3n))).toBeGreaterThan(4);
  });

  test('a snapshot from the midst of a compaction', async () => {
    let midst: Taken;
    let revision: bigint;
    // On a busy machine it may be over before the snapshot begins.
    do {
      await etcd.mixed(250);
      revision = await etcd.revision();
      await etcd.compact(revision - 20n, false);
      midst = await take();
    } while (midst.head.compactionFinished === revision - 20n);
    expect(midst.head.compactRevision).toBe(revision - 20n);
    expect(await compareHashes(midst, some(revision - 20n, revision, 3n))).toBeGreaterThan(5);
    await compareStates(midst, [revision - 20n, revision]);
    await checkContinuity(midst.source, revision - 20n);
  });

  test('a store in which no key lives', async () => {
    await etcd.call('KV/DeleteRange', encode([1, Buffer.alloc(1)], [2, Buffer.alloc(1)]));
    await etcd.compact((await etcd.revision()) - 1n, true);
    const nothing = await take();
    const { revision } = nothing.head;
    expect(await countKeys(nothing.source, nothing.head, revision)).toBe(0);
    expect(await compareHashes(nothing, [revision])).toBe(1);
    expect(await checkContinuity(nothing.source, nothing.head.compactRevision)).toBeGreaterThan(0);
  });

  // 3.4.23 cannot raise it.
  test.each(minor === '3.4' ? [] : [1_000_000_000])(
    'a cluster that was restored with its revision raised by %i, before it starts and after writes',
    async (by) => {
      const dataDir = join(folder, `${minor}-raised`);
      const raise = ['--bump-revision', String(by), '--mark-compacted'];
      await run(program('etcdutl', minor), ['snapshot', 'restore', before.path, '--data-dir', dataDir, ...raise]);
      const raised = before.head.revision + BigInt(by);
      // A copy: etcd is to find its file as it was left.
      const path = join(folder, `${minor}-raised.db`);
      copyFileSync(join(dataDir, 'member/snap/db'), path);
      const file = await open(path);
      expect(file.head).toMatchObject({ revision: raised, compactRevision: raised, compactionFinished: 0n });
      expect(await checkContinuity(file.source, raised)).toBeGreaterThan(140);
      // Its mark is the live key "" ever after; no range shows it.
      const keys = await countKeys(before.source, before.head, before.head.revision);
      expect(await countKeys(file.source, file.head, raised)).toBe(keys + 1);

      await using restored = await startCluster({ minor, dataDir, flags: ['--force-new-cluster'] });
      const server = writer(restored, seeded(9));
      const first = await server.hash(raised);
      if (first !== undefined) expect(await fileHash(file, raised, first.compactRevision)).toBe(first.hash);
      await server.mixed(30);
      const later = join(folder, `${minor}-raised-later.db`);
      await restored.etcdctl(['snapshot', 'save', later]);
      const after = await open(later);
      expect(after.head).toMatchObject({ compactRevision: raised, revision: await server.revision() });
      const { hash, compactRevision } = (await server.hash(after.head.revision))!;
      expect(compactRevision).toBe(raised);
      expect(await fileHash(after, after.head.revision, raised)).toBe(hash);
      expect(await countKeys(after.source, after.head, after.head.revision)).toBe((await server.range(after.head.revision)).length + 1);
      await checkContinuity(after.source, raised);
    },
  );

  test('users and roles by name', async () => {
    await cluster.etcdctl(['user', 'add', 'root:secret-of-root', '--interactive=false']);
    await cluster.etcdctl(['role', 'add', 'reader']);
    await cluster.etcdctl(['role', 'grant-permission', 'reader', 'read', 'dir/', '--prefix']);
    await cluster.etcdctl(['user', 'grant-role', 'root', 'reader']);
    const { db } = await take();
    const auth = await authOf(db);
    expect(auth).toMatchObject({
      enabled: false,
      users: [{ name: 'root', roles: ['reader'] }],
      roles: [{ name: 'reader', permissions: [{ type: 'read', key: Buffer.from('dir/'), rangeEnd: Buffer.from('dir0') }] }],
    });
    expect(auth.revision).toBeGreaterThan(3n);
  });
});
