import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ProgressEvent } from '../../../src/jobs/types.ts';
import { boltFile } from '../../support/bolt-file.ts';
import { writeCertificates } from '../../support/certificates.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startFakeMember, type FakeMember, type SnapshotScript } from '../../support/fake-member.ts';
import type { Member } from '../../support/member.ts';
import { until } from '../../support/processes.ts';
import { product, type Product, type ProductOptions } from '../../support/product.ts';
import { readManifest, recoverFile, snapshotStatus, startRestored, type Published } from '../../support/recover.ts';
import { runWarden } from '../../support/run-warden.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { decode, encode, messages } from '../../support/wire.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('intake');
  return () => removeFolder(folder);
});

/** Without the lock, unless a test is about more than the stream: these clusters lose members on purpose. */
function subjectOf(cluster: ProductOptions['cluster'], clusterOptions: Readonly<Record<string, unknown>> = {}): Product {
  return product({ folder, cluster, clusterOptions: { coordinate: false, requestTimeout: '5s', ...clusterOptions } });
}

/** Calls back once, when bytes of the stream have arrived. */
function inTheStream(act: () => void): { progress: (event: ProgressEvent) => void } {
  let done = false;
  return {
    progress: (event) => {
      if (done || event.step !== 'stream') return;
      done = true;
      act();
    },
  };
}

/** Everything that stands in the store: `main/ID.db.zst`, `main/ID.index.zst`, `main/ID.rREV.json`, and what lies in its temporary folder. */
function stored(subject: Product): string[] {
  return existsSync(subject.disk)
    ? readdirSync(subject.disk, { recursive: true })
        .map(String)
        .filter((name) => /\.(zst|json)$|^\.tmp\/./.test(name))
        .sort()
    : [];
}

function expectOnly(subject: Product, { id, revision }: Published): void {
  expect(stored(subject)).toEqual([`main/${id}.db.zst`, `main/${id}.index.zst`, `main/${id}.r${revision}.json`]);
}

/** As the manifest has them, but for what depends on the machine: whichever etcd lies on the same disk. */
function warningsOf(subject: Product, published: Published): { code: string; message: string }[] {
  return readManifest(subject.disk, published).warnings.filter((warning) => warning.code !== 'shared-device');
}

describe('a cluster of three with a learner', () => {
  let cluster: Cluster;
  const slow = { backup: { maxRate: '20MiB' } };
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3, learner: true });
    await cluster.fill({ keys: 3_000, valueBytes: 10_000, seed: 5, compressible: false });
  });
  afterAll(() => cluster?.stop());

  function named(name: string): Member {
    return cluster.members.find((member) => member.name === name)!;
  }

  test('fault 1: a member killed in the middle of the stream costs nothing but time: the next one delivers, and nothing half-written is visible', async () => {
    const victim = await cluster.leader();
    const subject = subjectOf(cluster, slow);
    let seen: string[] | undefined;
    const result = await subject.backup(
      {},
      inTheStream(() => {
        seen = stored(subject).filter((name) => name.startsWith('main/'));
        void victim.kill('SIGKILL');
      }),
    );
    await victim.restart();
    expect(seen).toEqual([]);
    expect(result).toMatchObject({ outcome: 'complete', member: expect.not.stringMatching(victim.name) as string });
    expect(result.warnings).toContainEqual({
      code: 'member-failed',
      message: expect.stringContaining(`${victim.name} failed during the stream`) as string,
    });
    expectOnly(subject, result);
    expect(readManifest(subject.disk, result)).toMatchObject({
      member: { name: result.member },
      warnings: expect.arrayContaining([expect.objectContaining({ code: 'member-failed' })]) as unknown,
    });
  });

  test('fault 1: with no other member the run fails by name, and leaves nothing at all', async () => {
    const victim = (await cluster.followers())[0]!;
    const subject = subjectOf({ endpoints: [victim.endpoint] }, { ...slow, discover: false });
    await expect(
      subject.backup(
        {},
        inTheStream(() => void victim.kill('SIGKILL')),
      ),
    ).rejects.toMatchObject({ code: 'snapshot-cut', message: expect.stringContaining(victim.endpoint) as string });
    expect(stored(subject)).toEqual([]);
    await victim.restart();
  });

  test('fault 2: a leader that is moved during the stream completes it, and the recorded revision is no newer than its status after', async () => {
    const leader = await cluster.leader();
    const target = (await cluster.followers())[0]!;
    const { memberId } = await target.status();
    const subject = subjectOf(cluster, slow);
    let moved: Promise<unknown> | undefined;
    const result = await subject.backup(
      {},
      inTheStream(() => {
        moved = leader.rpc.call('etcdserverpb.Maintenance/MoveLeader', encode([1, memberId]));
      }),
    );
    await moved;
    expect(result).toMatchObject({ outcome: 'complete', member: leader.name, role: 'leader' });
    const after = await leader.status();
    expect(after.leader).toBe(memberId);
    expect(BigInt(result.revision)).toBeLessThanOrEqual(after.revision);
    expectOnly(subject, result);
  });

  test.each(['learner', 'leader'] as const)(
    'fault 3: of a dead, a learner and a healthy endpoint the %s asked for is used, and the dead one is reported once',
    async (wanted) => {
      const leader = await cluster.leader();
      const subject = subjectOf({ endpoints: ['http://127.0.0.1:1', named('m4').endpoint, leader.endpoint] }, { member: wanted });
      const result = await subject.backup();
      expect(result).toMatchObject({ outcome: 'complete', role: wanted, member: wanted === 'learner' ? 'm4' : leader.name });
      expect(warningsOf(subject, result)).toEqual([{ code: 'cluster', message: expect.stringContaining('127.0.0.1:1') as string }]);
    },
  );

  test('fault 6: a member that is stopped with its connection open is given up after the idle timeout, and the next one delivers', async () => {
    const victim = (await cluster.followers())[0]!;
    const subject = subjectOf(cluster, { backup: { maxRate: '20MiB' }, member: victim.endpoint, streamIdleTimeout: '1500ms' });
    try {
      const result = await subject.backup(
        {},
        inTheStream(() => victim.pause()),
      );
      expect(result).toMatchObject({ outcome: 'complete', member: expect.not.stringMatching(victim.name) as string });
      expect(result.warnings).toContainEqual({
        code: 'member-failed',
        message: expect.stringContaining('brought no byte for 1500 ms') as string,
      });
      expectOnly(subject, result);
    } finally {
      victim.resume();
    }
  });

  test('while a full backup is taken under steady writes, its manifest names the revision that is inside the file', async () => {
    const writer = cluster.writer({ perSecond: 200 });
    const subject = subjectOf(cluster, slow);
    try {
      for (let round = 0; round < 2; round++) {
        const before = writer.counters();
        const result = await subject.backup();
        expect(writer.counters().written).toBeGreaterThan(before.written);
        const path = join(folder, 'recovered.db');
        await recoverFile(subject.disk, result, path);
        expect(await snapshotStatus(path)).toMatchObject({ revision: Number(result.revision) });
        const [first, last] = readManifest(subject.disk, result).marks;
        expect(BigInt(first!.revision)).toBeLessThanOrEqual(BigInt(result.revision));
        expect(BigInt(last!.revision)).toBeGreaterThan(BigInt(result.revision));
      }
    } finally {
      await writer.stop();
    }
  });

  describe('with an alarm armed', () => {
    beforeEach(() => () => cluster.disarmAlarms());

    test('fault 10: NOSPACE is no reason to have no backup: the warning stands in the manifest', async () => {
      const leader = await cluster.leader();
      await cluster.raiseAlarm('NOSPACE', leader);
      const subject = subjectOf(cluster, { coordinate: true });
      const result = await subject.backup();
      expect(result).toMatchObject({ outcome: 'complete', member: leader.name });
      expect(result.suspect).toBeUndefined();
      const codes = warningsOf(subject, result).map((warning) => warning.code);
      expect(codes.sort()).toEqual(['no-lock', 'nospace-armed']);
    });

    test('fault 10: of members one of which has CORRUPT armed another is preferred, whose backup is not suspect', async () => {
      const leader = await cluster.leader();
      await cluster.raiseAlarm('CORRUPT', leader);
      const subject = subjectOf(cluster);
      const result = await subject.backup();
      expect(result).toMatchObject({ outcome: 'complete', role: 'follower' });
      const manifest = readManifest(subject.disk, result);
      expect(manifest.suspect).toBeUndefined();
      expect(manifest.warnings).toContainEqual({
        code: 'second-rate-member',
        message: expect.stringContaining('CORRUPT alarm is armed for member') as string,
      });
    });

    test('fault 10: when there is no other, the corrupt member is backed up, marked suspect, and the exit code is 13', async () => {
      const leader = await cluster.leader();
      await cluster.raiseAlarm('CORRUPT', leader);
      const subject = subjectOf({ endpoints: [leader.endpoint] }, { discover: false });
      const taken = await runWarden(['backup', '--config', subject.configPath, '--json']);
      expect(taken.code, taken.stderr + taken.stdout).toBe(13);
      const result = taken.json<{ id: string; revision: string; suspect: string }>();
      expect(result.suspect).toContain('CORRUPT');
      expect(readManifest(subject.disk, result).suspect).toBe(result.suspect);
    });
  });

  // The last one, since it leaves no cluster behind.
  test('without quorum the voter that is left is backed up without the lock, with a warning that says what may be missing', async () => {
    const survivor = (await cluster.followers())[0]!;
    await Promise.all(cluster.members.filter((member) => member !== survivor && member.name !== 'm4').map((member) => member.kill()));
    await until(async () => (await survivor.status()).leader === 0n, 'the survivor still believes in a leader');
    const subject = subjectOf(cluster, { coordinate: true, requestTimeout: '3s' });
    const result = await subject.backup();
    expect(result).toMatchObject({ outcome: 'complete', member: survivor.name });
    const warnings = warningsOf(subject, result);
    expect(warnings.map((warning) => warning.code)).toContain('no-lock');
    expect(warnings).toContainEqual({ code: 'second-rate-member', message: expect.stringContaining('no quorum') as string });
  });
});

describe('a member that plays a fault', () => {
  const database = boltFile({ meta: [], key: [] }).bytes;
  const healthy: SnapshotScript = { database };
  const large = Buffer.alloc(256 * 1024, 7);
  const FAULTS: readonly (readonly [title: string, code: string, script: SnapshotScript, words: RegExp])[] = [
    [
      'fault 4: a stream that ends cleanly without the SHA-256',
      'snapshot-missing-hash',
      { database, omitTrailer: true },
      /snapshot missing hash/,
    ],
    ['fault 7: a last chunk that lacks one byte', 'snapshot-wrong-length', { database, dropBytes: 1 }, /size % 512/],
    ['fault 7: a last chunk that has one byte too many', 'snapshot-wrong-length', { database, dropBytes: -1 }, /wrong length/],
    [
      'a trailer that is not the SHA-256 of the bytes',
      'snapshot-hash-mismatch',
      { database, trailer: Buffer.alloc(32, 1) },
      /the member sent 0101/,
    ],
    ['a stream that ends in the middle', 'snapshot-incomplete', { database: large, endAt: 64 * 1024 }, /ended after 65536 of 262144 bytes/],
    ['a stream that fails in the middle', 'snapshot-cut', { database: large, failAt: { bytes: 64 * 1024 } }, /broke off after 65536/],
    ['fault 6: a stream that falls silent', 'snapshot-stalled', { database: large, stallAt: 64 * 1024 }, /no byte for 500 ms/],
    ['fault 9: a file with the right SHA-256 that is no database', 'not-bolt', { database: large }, /./],
  ];
  let first: FakeMember;
  let second: FakeMember;
  beforeEach(async () => {
    first = await startFakeMember({ memberId: 1n, name: 'first' });
    second = await startFakeMember({ memberId: 2n, name: 'second', snapshot: healthy });
    return async () => {
      await first.close();
      await second.close();
    };
  });

  test.each(FAULTS)('%s is rejected as %s, and nothing of it stays', async (_title, code, script, words) => {
    first.snapshot = script;
    const subject = subjectOf({ endpoints: [first.endpoint] }, { discover: false, streamIdleTimeout: '500ms' });
    await expect(subject.backup()).rejects.toMatchObject({ code, message: expect.stringMatching(words) as string });
    expect(stored(subject)).toEqual([]);
  });

  test.each(FAULTS)('%s (%s) sends the run on to the next member', async (_title, _code, script, words) => {
    first.snapshot = script;
    const subject = subjectOf({ endpoints: [first.endpoint, second.endpoint] }, { discover: false, streamIdleTimeout: '500ms' });
    const result = await subject.backup();
    expect(result).toMatchObject({ outcome: 'complete', member: second.endpoint, revision: '1' });
    expect(result.warnings).toContainEqual({ code: 'member-failed', message: expect.stringMatching(words) as string });
    expectOnly(subject, result);
  });

  test('a member whose snapshot is older than what it had shown before is passed over too', async () => {
    first.revision = 7n;
    first.snapshot = healthy;
    const alone = subjectOf({ endpoints: [first.endpoint] }, { discover: false });
    await expect(alone.backup()).rejects.toMatchObject({
      code: 'verification-failed',
      message: expect.stringContaining('holds revision 1, but the member had shown 7') as string,
    });
    expect(stored(alone)).toEqual([]);
    const result = await subjectOf({ endpoints: [first.endpoint, second.endpoint] }, { discover: false }).backup();
    expect(result).toMatchObject({ outcome: 'complete', member: second.endpoint });
    expect(result.warnings.map((warning) => warning.code)).toContain('lagging-member');
  });
});

describe('a cluster with authentication', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', auth: true, flags: ['--auth-token-ttl=2'] });
    await cluster.fill({ keys: 200, valueBytes: 10_000, compressible: false });
    await cluster.etcdctl(['user', 'add', 'reader:secret']);
  });
  afterAll(() => cluster?.stop());

  test('fault 14: a user without the root role is told that it is missing, how to grant it, and nothing is tried again', async () => {
    const subject = subjectOf(cluster, { user: 'reader', password: 'secret', coordinate: true });
    const failed = await runWarden(['backup', '--config', subject.configPath, '--json']);
    expect(failed.code).toBe(1);
    expect(failed.json()).toMatchObject({
      error: {
        code: 'permission-denied',
        message: expect.stringContaining('user reader lacks the root role, which Snapshot needs') as string,
        hint: 'etcdctl user grant-role reader root',
      },
    });
    expect(failed.stderr + failed.stdout).not.toContain('secret');
    expect(stored(subject)).toEqual([]);
  });

  test('fault 15: a token that expires during a slow stream costs nothing: status, lock and slot are served with a new one', async () => {
    await using proxy = await startTcpProxy(cluster.endpoints[0]!);
    const { dbSize } = await cluster.members[0]!.status();
    const subject = subjectOf({ endpoints: [proxy.endpoint] }, { user: 'root', password: 'root', discover: false, coordinate: true });
    const started = performance.now();
    const slot = new Date().toISOString();
    proxy.limit(dbSize / 5);
    const result = await subject.backup({ slot });
    expect(performance.now() - started).toBeGreaterThan(3_500);
    expect(result.outcome).toBe('complete');
    expect(warningsOf(subject, result)).toEqual([]);
    expectOnly(subject, result);
    expect(JSON.parse(await cluster.etcdctl(['get', '/etcd-warden/slots/main', '--print-value-only']))).toMatchObject({
      slot,
      id: result.id,
    });
    expect(await cluster.etcdctl(['get', '/etcd-warden/lock'])).toBe('');
  });
});

describe('without quorum', () => {
  let cluster: Cluster;
  let certificates: string;
  let survivor: Member;
  beforeAll(async () => {
    certificates = temporaryFolder('certificates');
    cluster = await startCluster({
      minor: '3.6',
      members: 3,
      auth: true,
      tls: writeCertificates(certificates, { clientCertRequired: true }).tls,
    });
    survivor = (await cluster.followers())[0]!;
    await Promise.all(cluster.members.filter((member) => member !== survivor).map((member) => member.kill()));
    await until(async () => (await survivor.status()).leader === 0n, 'the survivor still believes in a leader');
  });
  afterAll(async () => {
    await cluster?.stop();
    removeFolder(certificates);
  });

  function secured(changes: Readonly<Record<string, unknown>>): Product {
    const tls = {
      caFile: join(certificates, 'ca.crt'),
      certFile: join(certificates, 'client.crt'),
      keyFile: join(certificates, 'client.key'),
    };
    return subjectOf(cluster, { tls, coordinate: true, requestTimeout: '3s', dialTimeout: '3s', ...changes });
  }

  test('a client certificate of a root user still gets its backup, with a warning that says what may be missing', async () => {
    const result = await secured({}).backup();
    expect(result).toMatchObject({ outcome: 'complete', member: survivor.name });
    const codes = result.warnings.map((warning) => warning.code);
    expect(codes).toContain('no-lock');
    expect(result.warnings).toContainEqual({ code: 'second-rate-member', message: expect.stringContaining('no quorum') as string });
  });

  test('a password cannot be checked, which is an error of its own that names the way out', async () => {
    const subject = secured({ user: 'root', password: 'root', requestTimeout: '1500ms' });
    await expect(subject.backup()).rejects.toMatchObject({
      code: 'login-needs-quorum',
      hint: expect.stringContaining('client certificate') as string,
    });
    expect(stored(subject)).toEqual([]);
  });
});

describe('what a database may hold', () => {
  test('fault 17: an empty cluster has a backup that restores to an empty cluster', async () => {
    await using cluster = await startCluster({ minor: '3.6' });
    const subject = subjectOf(cluster);
    const result = await subject.backup();
    expect(result).toMatchObject({ outcome: 'complete', revision: '1', compactRevision: '0' });
    const path = join(folder, 'recovered.db');
    await recoverFile(subject.disk, result, path);
    await using restored = await startRestored(path, join(folder, 'restored'));
    expect(await records(restored.members[0]!)).toEqual([]);
  });

  test('fault 17: keys that are no UTF-8, empty values and one of 1.5 MiB come back byte for byte', async () => {
    await using cluster = await startCluster({ minor: '3.6' });
    const member = cluster.members[0]!;
    const pairs: (readonly [Buffer, Buffer])[] = [
      [Buffer.from([0xff, 0xfe, 0x00, 0x80]), Buffer.from([0x00, 0xff])],
      [Buffer.from([0x00]), Buffer.alloc(0)],
      [Buffer.from('empty'), Buffer.alloc(0)],
      [Buffer.from('ключ/鍵'), Buffer.from([0xc3, 0x28])],
      // The limit of 1.5 MiB counts the whole request.
      [Buffer.from('large'), Buffer.alloc(1.5 * 1024 * 1024 - 64, 'x')],
    ];
    for (const [key, value] of pairs) await member.rpc.call('etcdserverpb.KV/Put', encode([1, key], [2, value]), { timeoutMs: 10_000 });
    const subject = subjectOf(cluster);
    const result = await subject.backup();
    expect(result).toMatchObject({ outcome: 'complete', revision: String(1 + pairs.length) });
    const path = join(folder, 'recovered.db');
    await recoverFile(subject.disk, result, path);
    await using restored = await startRestored(path, join(folder, 'restored'));
    const found = await records(restored.members[0]!);
    expect(found.length).toBe(pairs.length);
    for (const [key, value] of pairs) expect(found.some((pair) => pair[0].equals(key) && pair[1].equals(value))).toBe(true);
  });
});

/** All keys and values, as bytes. */
async function records(member: Member): Promise<(readonly [Buffer, Buffer])[]> {
  const reply = await member.rpc.call('etcdserverpb.KV/Range', encode([1, Buffer.of(0)], [2, Buffer.of(0)]));
  return messages(reply, 2).map((kv) => [bytesOf(kv, 1), bytesOf(kv, 5)] as const);
}

function bytesOf(message: ReturnType<typeof decode>, field: number): Buffer {
  const value = message.get(field)?.[0];
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0);
}
