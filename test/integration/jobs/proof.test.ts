import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadCatalog } from '../../../src/jobs/catalog.ts';
import { runJob } from '../../../src/jobs/run.ts';
import { withStores } from '../../../src/jobs/stores.ts';
import type { JobContext, ProgressEvent, ProveResult } from '../../../src/jobs/types.ts';
import { surveyOf } from '../../../src/jobs/survey.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { ETCD_MINORS } from '../../../tools/programs.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { startFakeMember, type FakeMember } from '../../support/fake-member.ts';
import type { Member } from '../../support/member.ts';
import { product, type Product } from '../../support/product.ts';
import { readManifest, recoverFile } from '../../support/recover.ts';
import { runWarden } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder('proof');
  return () => removeFolder(folder);
});

function subjectOf(cluster: Pick<Cluster, 'endpoints'>, clusterOptions: Readonly<Record<string, unknown>> = {}): Product {
  return product({ folder, cluster, clusterOptions: { requestTimeout: '5s', ...clusterOptions } });
}

const HOUR = 3_600_000;

/** A clock so many hours from now. */
function inHours(hours: number): { now: () => Date } {
  const at = Date.now() + hours * HOUR;
  return { now: () => new Date(at) };
}

/** Waits in the middle of the stream until `act` has been done. */
function inTheStream(act: () => Promise<unknown>): { changes: Partial<JobContext>; done: () => Promise<unknown> } {
  let acted: Promise<unknown> | undefined;
  const progress = (event: ProgressEvent): void => {
    if (event.step === 'stream') acted ??= act();
  };
  return { changes: { progress }, done: async () => acted };
}

function survey(subject: Product): Promise<ReturnType<typeof surveyOf>> {
  const { config } = subject;
  return withStores(config, ['disk'], silentLogger, async (stores) => {
    const catalog = await loadCatalog(stores, 'main', new AbortController().signal);
    return surveyOf(catalog, ['disk'], { policy: config.clusters['main']!.retention, now: new Date() });
  });
}

describe('three members of 3.6', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
    await cluster.fill({ keys: 2_000, valueBytes: 1_000 });
  });
  afterAll(() => cluster?.stop());

  test('a backup is proved by one follower, each time by another one, and by everybody once a day, the leader last', async () => {
    const subject = subjectOf(cluster);
    const leader = (await cluster.leader()).name;
    const followers = (await cluster.followers()).map(({ name }) => name);
    const first = await subject.backup();
    expect(first).toMatchObject({ outcome: 'complete', keyCount: 2_001 });
    expect(first.proof).toMatchObject({ revision: first.revision, compactRevision: '-1', members: [expect.stringMatching(/^m/)] });
    expect(followers).toContain(first.proof!.members[0]);
    const second = await subject.backup({}, inHours(1));
    expect(second.proof!.members).toEqual(followers.filter((name) => name !== first.proof!.members[0]));
    const third = await subject.backup({}, inHours(2));
    expect(third.proof!.members).toEqual(first.proof!.members);
    const nextDay = await subject.backup({}, inHours(24.5));
    expect(nextDay.proof!.members).toEqual([expect.stringMatching(/^m/), leader]);
    expect(readManifest(subject.disk, nextDay)).toMatchObject({ proof: nextDay.proof, keyCount: nextDay.keyCount });
    const all = await subjectOf(cluster, { proof: { members: 'all' } }).backup({}, inHours(25));
    expect(new Set(all.proof!.members)).toEqual(new Set(['m1', 'm2', 'm3']));
    expect(all.proof!.members.at(-1)).toBe(leader);
    expect(all.stall!.predictedMs).toBeLessThan(100);
  });

  test('a compaction between the snapshot and the question changes the question, not the answer', async () => {
    const subject = subjectOf(cluster, { backup: { maxRate: '2MiB' } });
    const { revision } = await cluster.members[0]!.status();
    const compacting = inTheStream(() => cluster.etcdctl(['compact', String(revision - 5n)]));
    const result = await subject.backup({}, compacting.changes);
    await compacting.done();
    expect(result).toMatchObject({ outcome: 'complete', proof: { compactRevision: String(revision - 5n) } });
    expect(BigInt(result.compactRevision)).toBeLessThan(revision - 5n);
  });

  test('a cluster that has compacted past the revision gives no proof any more: the backup stands, and says why', async () => {
    const subject = subjectOf(cluster, { backup: { maxRate: '2MiB' } });
    const passing = inTheStream(async () => {
      await cluster.fill({ keys: 10, valueBytes: 10, prefix: '/later/' });
      const { revision } = await cluster.members[0]!.status();
      await cluster.etcdctl(['compact', String(revision)]);
    });
    const result = await subject.backup({}, passing.changes);
    await passing.done();
    expect(result).toMatchObject({ outcome: 'complete', unproved: { code: 'revision-compacted' } });
    expect(result).not.toHaveProperty('proof');
    expect(result).not.toHaveProperty('suspect');
    expect(result.warnings).toContainEqual({ code: 'unproved', message: expect.stringContaining('compacted') as string });
    expect((await survey(subject)).proof).toMatchObject({ newestProvedMs: undefined, wanting: [] });
  });

  test('a stall that would be too long is not asked for: the backup is published at once, and proved later', async () => {
    await cluster.fill({ keys: 5_000, valueBytes: 1_000, prefix: '/more/' });
    const subject = subjectOf(cluster, { proof: { maxStall: '1ms' } });
    const result = await subject.backup();
    expect(result).toMatchObject({ outcome: 'complete', unproved: { code: 'stall-too-long' }, keyCount: expect.any(Number) as number });
    expect((await survey(subject)).proof.wanting).toEqual([{ id: result.id, code: 'stall-too-long' }]);
    const waiting = (await runJob({ verb: 'prove', request: { cluster: 'main' } }, subject.context())) as ProveResult;
    expect(waiting.lines).toMatchObject([{ id: result.id, outcome: 'waiting', code: 'stall-too-long' }]);

    const inWindow = subjectOf(cluster, { proof: { maxStall: '1ms', window: '* * * * *' } });
    const { lines } = (await runJob({ verb: 'prove', request: { cluster: 'main' } }, inWindow.context())) as ProveResult;
    expect(lines).toMatchObject([{ id: result.id, outcome: 'proved', proof: { revision: result.revision } }]);
    expect((await survey(subject)).proof).toMatchObject({ newestProvedMs: expect.any(Number) as number, wanting: [] });
  });

  test('with proofs switched off nobody is asked', async () => {
    const result = await subjectOf(cluster, { proof: { enabled: false } }).backup();
    expect(result).toMatchObject({ outcome: 'complete', unproved: { code: 'disabled' } });
    expect(result).not.toHaveProperty('stall');
    expect(result.warnings.map(({ code }) => code)).not.toContain('unproved');
  });

  test('a follower that hangs costs its deadline, not the proof', async () => {
    const [hanging, other] = (await cluster.followers()) as [Member, Member];
    hanging.pause();
    try {
      const result = await subjectOf(cluster, { requestTimeout: '2s', coordinate: false }).backup();
      expect(result).toMatchObject({ outcome: 'complete', proof: { members: [other.name] } });
    } finally {
      hanging.resume();
      await hanging.waitHealthy();
    }
  });
});

describe('a member whose database is corrupted', () => {
  let cluster: Cluster;
  let corrupt: Member;
  let sound: string[];
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', members: 3 });
    await cluster.fill({ keys: 500, valueBytes: 500 });
    await cluster.etcdctl(['put', 'marker', 'the value as it was written']);
    corrupt = (await cluster.followers())[1]!;
    sound = cluster.members.map(({ name }) => name).filter((name) => name !== corrupt.name);
    await corrupt.stop();
    const path = join(corrupt.dataDir, 'member/snap/db');
    const file = readFileSync(path);
    const before = Buffer.from('the value as it was written');
    for (let at = file.indexOf(before); at !== -1; at = file.indexOf(before, at + 1)) file.write('the value as it was WRITTEN', at);
    writeFileSync(path, file);
    await corrupt.restart();
  });
  afterAll(() => cluster?.stop());

  test('members that disagree are found out when all are asked: an alarm, and a backup that says it', async () => {
    const subject = subjectOf(cluster, { proof: { members: 'all' } });
    const result = await subject.backup();
    expect(result.disagreement?.members).toEqual([corrupt.name]);
    expect(result.disagreement?.reason).toMatch(/other data than .* at revisions \d+ and \d+/);
    expect(result.suspect).toContain('members disagree');
    expect(new Set(result.proof?.members)).toEqual(new Set(sound));
    expect(readManifest(subject.disk, result)).toMatchObject({ suspect: result.suspect, disagreement: result.disagreement });
    expect((await survey(subject)).proof.disagreement).toEqual(result.disagreement);
    // Doubted members are asked each time, whoever has his turn.
    const next = await subjectOf(cluster).backup();
    expect(next.disagreement?.members).toEqual([corrupt.name]);
  });

  test('a snapshot of the corrupt member is proved by itself alone, and so is suspect', async () => {
    const subject = subjectOf(cluster, { member: corrupt.endpoint });
    let result = await subject.backup();
    // Its turn comes when the other follower has had his.
    if (result.disagreement === undefined) result = await subject.backup({}, inHours(1));
    expect(result).toMatchObject({ member: corrupt.name, proof: { members: [corrupt.name] } });
    expect(result.suspect).toContain('members disagree');
    expect(sound).toEqual(expect.arrayContaining([...result.disagreement!.members]));
  });
});

describe('a member whose file is damaged inside', () => {
  /** A member that streams a real database, one of whose leaves says that it has more records than fit, with a trailer that is right. */
  async function damagedMember(): Promise<FakeMember> {
    await using cluster = await startCluster({ minor: '3.6' });
    await cluster.fill({ keys: 500, valueBytes: 100 });
    const subject = product({ folder: join(folder, 'sound'), cluster, clusterOptions: { coordinate: false } });
    const path = join(folder, 'sound.db');
    await recoverFile(subject.disk, await subject.backup(), path);
    const database = readFileSync(path).subarray(0, -32);
    const marker = database.indexOf('/fill/00000100');
    const page = marker - (marker % 4096);
    expect(database.readUInt16LE(page + 8)).toBe(0x02); // a leaf
    database.writeUInt16LE(0xfff0, page + 10);
    const { revision } = await cluster.members[0]!.status();
    return startFakeMember({ revision, snapshot: { database } });
  }

  test('fault 9: the only member has a corrupt file with a valid SHA-256: kept, marked suspect with the place, never counted as verified', async () => {
    await using member = await damagedMember();
    const subject = subjectOf({ endpoints: [member.endpoint] }, { coordinate: false, discover: false });
    const result = await subject.backup();
    expect(result).toMatchObject({
      outcome: 'complete',
      suspect: expect.stringContaining('the file is damaged inside') as string,
      unproved: { code: 'damaged', reason: expect.stringContaining('page') as string },
    });
    expect(result).not.toHaveProperty('keyCount');
    expect(result).not.toHaveProperty('proof');
    const { newestComplete, newest, proof } = await survey(subject);
    expect(newest).toMatchObject({ id: result.id, suspect: result.suspect });
    expect(newestComplete).toBeUndefined();
    expect(proof.wanting).toEqual([]);
    const shown = await runWarden([
      'backup',
      '--endpoints',
      member.endpoint,
      '--to',
      join(folder, 'other'),
      '--no-coordinate',
      '--no-discover',
    ]);
    expect(shown).toMatchObject({ code: 13, stdout: expect.stringMatching(/NOT PROVED: .*page[\s\S]*SUSPECT/) as string });
  });
});

test('where authentication is on, the question is asked with the login of the snapshot', async () => {
  await using cluster = await startCluster({ minor: '3.5', auth: true });
  await cluster.fill({ keys: 50, valueBytes: 100 });
  expect(await subjectOf(cluster, { user: 'root', password: 'root' }).backup()).toMatchObject({ proof: { members: ['m1'] } });
});

describe.each(ETCD_MINORS)('a single member of %s', (minor) => {
  test('proves its own snapshot, after compactions too', async () => {
    await using cluster = await startCluster({ minor, flags: ['--auto-compaction-retention=0'] });
    await cluster.fill({ keys: 300, valueBytes: 100 });
    await cluster.fill({ keys: 100, valueBytes: 100, seed: 2 });
    const subject = subjectOf(cluster);
    expect(await subject.backup()).toMatchObject({ outcome: 'complete', proof: { compactRevision: '-1', members: ['m1'] } });
    const { revision } = await cluster.members[0]!.status();
    await cluster.etcdctl(['compact', '--physical', String(revision - 1n)]);
    expect(await subject.backup()).toMatchObject({ proof: { compactRevision: String(revision - 1n), members: ['m1'] } });
  });
});
