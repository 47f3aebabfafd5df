import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { boltFile, inMemory } from '../../../test/support/bolt-file.ts';
import { restoreContext, snapshotSource, WHOLE } from '../../../test/support/database-source.ts';
import { compacted, naiveHashKv, randomHistory, rawOf, stateAt } from '../../../test/support/history.ts';
import { sampleManifest } from '../../../test/support/manifests.ts';
import { seeded } from '../../../test/support/random.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import { check } from '../../boltdb/check.ts';
import { readHead } from '../../mvcc/head.ts';
import { membersOf } from '../../mvcc/members.ts';
import { encodeRevision } from '../../mvcc/revision.ts';
import { newCluster, parseInitialCluster } from '../identity.ts';
import type { BuiltDatabase, Content, EtcdMinor } from '../types.ts';
import { buildDatabase, measureDatabase } from './build.ts';
import { raiseBy, raisedTo } from './raise.ts';

const folder = mkdtempSync(join(tmpdir(), 'etcd-warden-database-'));
afterAll(() => rmSync(folder, { recursive: true }));

const CLUSTER = newCluster(parseInitialCluster('m2=http://10.0.0.2:2380,m1=http://10.0.0.1:2380,m3=http://[2001:db8::3]:2380'), 'token');
const history = randomHistory({ random: seeded(9), steps: 80, keys: 9, compaction: 'finished' });

interface Extra {
  readonly meta?: Readonly<Record<string, Buffer>>;
  readonly alarm?: readonly Buffer[];
  readonly cluster?: Readonly<Record<string, string>>;
  readonly bigEndian?: boolean;
}

/** A snapshot of the history with its trailer. */
function snapshot({ meta = {}, alarm = [], cluster = {}, bigEndian = false }: Extra = {}): Buffer {
  const mark = encodeRevision({ main: history.compactRevision, sub: 0n, tombstone: false });
  const { bytes } = boltFile(
    {
      key: history.records.map(({ key, value }) => [key, value] as const),
      meta: Object.entries({ finishedCompactRev: mark, scheduledCompactRev: mark, consistent_index: Buffer.alloc(8, 1), ...meta }),
      members: [['8e9e05c52164694d', '{"id":10276657743932975437,"peerURLs":["http://old:2380"],"name":"old"}']],
      members_removed: [['abc', 'removed']],
      alarm: alarm.map((key) => [key, ''] as const),
      auth: [['authEnabled', Buffer.from([1])]],
      cluster: Object.entries(cluster),
      lease: [],
    },
    { bigEndian, freelist: 'stored' },
  );
  return Buffer.concat([bytes, createHash('sha256').update(bytes).digest()]);
}

let number = 0;

interface Asked {
  readonly content?: Content;
  readonly minor?: EtcdMinor;
  readonly acceptSuspect?: boolean;
  readonly source?: Parameters<typeof snapshotSource>[1];
  readonly signal?: AbortSignal;
}

/** Builds in a folder of its own, and expects that a failure leaves nothing in it. */
async function build(
  file: Buffer,
  asked: Asked = {},
): Promise<{ readonly built: BuiltDatabase; readonly bytes: Buffer; readonly path: string }> {
  const { content = WHOLE, minor = '3.6', acceptSuspect = false, source, signal } = asked;
  const own = mkdtempSync(join(folder, `${(number += 1)}-`));
  const path = join(own, 'db');
  const request = {
    source: snapshotSource(file, source),
    path,
    cluster: CLUSTER,
    content,
    minor,
    acceptSuspect,
    scratchFolder: join(own, 'scratch'),
  };
  try {
    const built = await buildDatabase(request, restoreContext(signal));
    return { built, bytes: readFileSync(path), path };
  } catch (error) {
    expect(readdirSync(own, { recursive: true }).filter((name) => name !== 'scratch')).toEqual([]);
    throw error;
  }
}

async function metaOf(bytes: Buffer): Promise<Record<string, string>> {
  const meta: Record<string, string> = {};
  for await (const { key, value } of (await (await openBolt(inMemory(bytes))).bucket('meta'))!.entries())
    meta[key.toString()] = value.toString('hex');
  return meta;
}

const alarmOf = (type: 1 | 2): Buffer => Buffer.from([0x08, 0x05, 0x10, type]);

describe('a database that was built', () => {
  test.each([
    ['copied', WHOLE],
    ['written anew', { ...WHOLE, defragmented: true }],
  ])('has the new members alone, and the position of its raft log: %s', async (_, content) => {
    const { built, bytes, path } = await build(snapshot({ alarm: [alarmOf(1)], cluster: { clusterVersion: '3.6.0', downgrade: '{}' } }), {
      content,
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(bytes.length).toBe(built.bytes);
    await check(inMemory(bytes), { snapshot: true });
    const db = await openBolt(inMemory(bytes));
    const { members, removed } = await membersOf(db);
    expect(
      members.map(({ id, name, peerUrls, isLearner }) => ({ id, name, peerUrls, isLearner })).toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    ).toEqual(CLUSTER.members.map(({ id, name, peerUrls }) => ({ id, name, peerUrls, isLearner: false })));
    expect(removed).toEqual([]);
    expect(await readHead(db)).toMatchObject({ alarms: [], consistentIndex: 3n, term: 1n });
    expect(Buffer.from((await metaOf(bytes))['confState']!, 'hex').toString()).toBe(
      `{"voters":[${CLUSTER.members.map(({ id }) => id).join(',')}],"auto_leave":false}`,
    );
    expect(built).toMatchObject({
      droppedAlarms: 1,
      revision: history.revision,
      compactRevision: history.compactRevision,
      builder: 'native',
    });
    expect(built.hash).toBe(naiveHashKv(history.records, history.revision, history.compactRevision));
    expect(built.keyCount).toBe(stateAt(history.changes, history.revision).size);
    expect(await (await db.bucket('cluster'))!.get(Buffer.from('downgrade'))).toBeUndefined();
    expect((await (await db.bucket('auth'))!.get(Buffer.from('authEnabled')))!).toEqual(Buffer.from([1]));
  });

  test('for etcd 3.4 names no term and no configuration', async () => {
    const meta = await metaOf((await build(snapshot(), { minor: '3.4' })).bytes);
    expect(Object.keys(meta).toSorted()).toEqual(['consistent_index', 'finishedCompactRev', 'scheduledCompactRev']);
  });

  test('property: raised or cut off at a revision, its hash is that of the definition', async () => {
    const target = history.revision + 1_000_000n;
    const raised = await build(snapshot(), { content: { ...WHOLE, bump: { by: 1_000_000n } } });
    expect(raised.built).toMatchObject({ revision: target, compactRevision: target, raisedFrom: history.revision });
    expect(raised.built.hash).toBe(naiveHashKv(history.records, target, target));
    for (let revision = history.compactRevision; revision <= history.revision; revision += 41n) {
      const { built } = await build(snapshot(), { content: { ...WHOLE, revision } });
      const records = compacted(history.changes, history.compactRevision)
        .filter(({ main }) => main <= revision)
        .map(rawOf);
      expect(built.hash, `revision ${revision}`).toBe(naiveHashKv(records, revision, history.compactRevision));
      expect(built.keyCount).toBe(stateAt(history.changes, revision).size);
      expect(built.revision).toBe(revision);
    }
  });

  test('property: only some keys, at any revision', async () => {
    for (const revision of [undefined, history.revision - 3n]) {
      const content = { ...WHOLE, revision, only: [Buffer.from('key-x')], without: [Buffer.from('key-xxxx')] };
      const { built, bytes } = await build(snapshot(), { content, source: { encrypted: true } });
      const at = revision ?? history.revision;
      const kept = [...stateAt(history.changes, at).values()].filter(({ key }) => key.startsWith('key-x') && !key.startsWith('key-xxxx'));
      const records = kept.map(rawOf).toSorted((a, b) => Buffer.compare(a.key, b.key));
      expect(built).toMatchObject({ revision: at, compactRevision: at, keyCount: kept.length, hash: naiveHashKv(records, at, at) });
      expect(await readHead(await openBolt(inMemory(bytes)))).toMatchObject({ revision: at, compactRevision: at });
    }
  });

  test('is the same when the first copy was given up midway', async () => {
    const file = snapshot();
    for (const content of [WHOLE, { ...WHOLE, defragmented: true }]) {
      const [whole, again] = [await build(file, { content }), await build(file, { content, source: { restarts: 1 } })];
      expect(again.bytes.equals(whole.bytes)).toBe(true);
    }
  });

  test('is measured as it was built, and mended where another tool left the old members', async () => {
    const { built, path } = await build(snapshot());
    const { revision, compactRevision, hash, keyCount, kubernetes, bytes } = built;
    expect(await measureDatabase(path, CLUSTER, restoreContext())).toEqual({
      revision,
      compactRevision,
      hash,
      keyCount,
      kubernetes,
      bytes,
    });
    const file = snapshot({ alarm: [alarmOf(1)] });
    writeFileSync(path, file.subarray(0, file.length - 32));
    expect(await measureDatabase(path, CLUSTER, restoreContext())).toMatchObject({ revision, hash });
    const db = await openBolt(inMemory(readFileSync(path)));
    expect((await membersOf(db)).members.map(({ name }) => name).toSorted()).toEqual(['m1', 'm2', 'm3']);
    expect((await readHead(db)).alarms).toEqual([]);
  });
});

describe('nothing is built, and nothing is left', () => {
  const proof = { revision: String(history.revision), compactRevision: String(history.compactRevision), hash: 0, members: ['a'] };
  let damaged: Buffer;
  beforeAll(() => {
    damaged = snapshot();
    // A value of the last record: only the proof of members could tell.
    damaged.fill(0xff, 1024 * 4, 1024 * 4 + 4);
  });

  test.each<readonly [string, () => Buffer, Asked, string | RegExp]>([
    ['of a page that is damaged', () => damaged, {}, /damaged|not a database of etcd/],
    ['when members answered another hash', snapshot, { source: { proof } }, /members? ?.*answered 0|a answered 0/],
    ['of a corrupt member', () => snapshot({ alarm: [alarmOf(2)] }), {}, /CORRUPT alarm of member 5/],
    [
      'for an etcd before the one that wrote it',
      () => snapshot({ meta: { storageVersion: Buffer.from('3.7.0') } }),
      {},
      /storage version is 3.7.0/,
    ],
    [
      'for an etcd before the version of its cluster',
      () => snapshot({ cluster: { clusterVersion: '3.6.0' } }),
      { minor: '3.5' },
      /cluster version is 3.6.0/,
    ],
    ['for 3.4 of a 3.5', () => snapshot({ meta: { term: Buffer.alloc(8, 1) } }), { minor: '3.4' }, /its schema is 3.5.0/],
    [
      'of an etcd that nobody knows yet',
      () => snapshot({ meta: { storageVersion: Buffer.from('3.9.0') } }),
      { minor: '3.7' },
      /would be a guess/,
    ],
    ['at a revision that is compacted', snapshot, { content: { ...WHOLE, revision: history.compactRevision - 1n } }, /is gone/],
    ['at a revision to come', snapshot, { content: { ...WHOLE, revision: history.revision + 1n } }, /ends at revision/],
    ['raised beyond what etcd counts', snapshot, { content: { ...WHOLE, bump: { by: 2n ** 63n - 1n } } }, /beyond 9223372036854775807/],
    ['of another byte order, by copying', () => snapshot({ bigEndian: true }), {}, /big-endian machine/],
  ])('%s', async (_, file, asked, sentence) => {
    await expect(build(file(), asked)).rejects.toThrow(sentence);
  });

  test('when its manifest says something else', async () => {
    const said = {
      revision: String(history.revision),
      compactRevision: String(history.compactRevision),
      keyCount: stateAt(history.changes, history.revision).size,
    };
    for (const [changed, sentence] of [
      [{ revision: '99999' }, 'holds revision \\d+, its manifest says 99999'],
      [{ compactRevision: '0' }, 'is compacted at \\d+, its manifest says 0'],
      [{ keyCount: 99_999 }, 'holds \\d+ keys, its manifest says 99999'],
    ] as const)
      await expect(build(snapshot(), { source: { manifest: sampleManifest({ ...said, ...changed }) } })).rejects.toMatchObject({
        code: 'verification-failed',
        message: expect.stringMatching(sentence) as string,
      });
    await build(snapshot(), { source: { manifest: sampleManifest(said) } });
  });

  test('when it is interrupted midway', async () => {
    const abort = new AbortController();
    const source = { onBlock: () => abort.abort(new Error('stopped')) };
    for (const content of [WHOLE, { ...WHOLE, defragmented: true }])
      await expect(build(Buffer.concat([snapshot(), Buffer.alloc(200_000)]), { signal: abort.signal, source, content })).rejects.toThrow(
        'stopped',
      );
  });

  test('over a file that is there', async () => {
    const { path, built } = await build(snapshot());
    const request = {
      source: snapshotSource(snapshot()),
      path,
      cluster: CLUSTER,
      content: WHOLE,
      minor: '3.6',
      acceptSuspect: false,
      scratchFolder: folder,
    } as const;
    await expect(buildDatabase(request, restoreContext())).rejects.toMatchObject({ code: 'disk-failed' });
    expect(statSync(path).size).toBe(built.bytes);
  });

  test('but of a corrupt member all the same when that is accepted, and written anew for this byte order', async () => {
    expect((await build(snapshot({ alarm: [alarmOf(2)] }), { acceptSuspect: true })).built.droppedAlarms).toBe(1);
    const { built } = await build(snapshot({ bigEndian: true }), { content: { ...WHOLE, defragmented: true } });
    expect(built.hash).toBe(naiveHashKv(history.records, history.revision, history.compactRevision));
  });
});

describe('raising', () => {
  test('is decided by the content, and never below one', () => {
    expect(raiseBy(WHOLE, { kubernetes: true })).toBeUndefined();
    expect(raiseBy({ ...WHOLE, bump: 'auto' }, { kubernetes: false })).toBeUndefined();
    expect(raiseBy({ ...WHOLE, bump: 'auto' }, { kubernetes: true })).toBe(1_000_000_000n);
    expect(raiseBy({ ...WHOLE, bump: { by: 3n } }, { kubernetes: false })).toBe(3n);
    expect(() => raisedTo(5n, 0n)).toThrow(/by 0/);
    expect(raisedTo(5n, 2n ** 63n - 6n)).toBe(2n ** 63n - 1n);
  });
});
