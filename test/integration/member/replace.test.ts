import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Symptom } from '../../../src/member/replace/types.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { product, type Product } from '../../support/product.ts';
import { BREAKS, expectWhole, fakeSystemd, oldData, opened, replaced, type FakeSystemd } from '../../support/replacing.ts';

/** So that a raft snapshot comes after a few writes. */
const FLAGS = ['--snapshot-count=50'];

const CORRUPT = 'its data is not that of the others and CORRUPT is armed';

/** What the diagnosis calls each way, at least. */
const SYMPTOMS: Readonly<Record<keyof typeof BREAKS, Symptom['code']>> = {
  'its disk is gone': 'disk-gone',
  'the database of its raft snapshot is missing': 'snapshot-db',
  'its write-ahead log is damaged': 'damaged-wal',
  'its database is damaged': 'damaged-db',
  'it was started as a new cluster': 'other-cluster',
  'it was restored alone from a backup': 'cluster-id-mismatch',
  [CORRUPT]: 'different-data',
};

// etcd waits seven seconds when the first words of a new member are lost, so two clusters take turns.
describe('member replace brings back a member of 3.6', () => {
  const lanes: { cluster: Cluster; turn: Promise<unknown> }[] = [];
  let folder: string;
  let systemd: FakeSystemd;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'warden-replace-'));
    systemd = await fakeSystemd(folder);
    vi.stubEnv('PATH', `${systemd.bin}:${process.env['PATH']}`);
    await Promise.all(
      [0, 1].map(async () => {
        const cluster = await startCluster({ minor: '3.6', members: 3, flags: FLAGS });
        lanes.push({ cluster, turn: cluster.fill({ keys: 200, valueBytes: 100 }) });
      }),
    );
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await Promise.all(lanes.map(({ cluster }) => cluster.stop()));
    await systemd?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The hashes tell who is the wrong one, and whoever came back now would copy from it. */
  async function expectOthersRefused(subject: Product): Promise<void> {
    const task = await opened({ product: subject, member: 'm1', request: { healthy: true } });
    await task.close();
    expect(task.preview.gates).toContainEqual(
      expect.objectContaining({
        rule: 'corrupt-elsewhere',
        verdict: 'refused',
        message: expect.stringContaining('data of m3 is in doubt'),
      }),
    );
  }

  async function bringBack(how: string, cluster: Cluster, own: string): Promise<void> {
    const member = cluster.members[2]!;
    const { unit, environmentFile } = systemd.unit(cluster, member, FLAGS);
    const settings = readFileSync(environmentFile, 'utf8');
    const subject = product({ folder: own, cluster, clusterOptions: { dialTimeout: '2s' } });
    const gone = (await member.status()).memberId;
    const before = oldData(member).length;
    await BREAKS[how]!(member, cluster, own);
    if (how === CORRUPT) await expectOthersRefused(subject);
    const writer = cluster.writer({ perSecond: 50 });
    const { task, result } = await replaced({
      product: subject,
      member: 'm3',
      request: { place: { dataDir: member.dataDir, walDir: undefined }, managedBy: { unit, environmentFile } },
    });
    const { written } = await writer.stop();
    expect(task.preview.symptoms.map(({ code }) => code)).toContain(SYMPTOMS[how]);
    // While CORRUPT is armed etcd takes no writes, and taking it back is for people.
    if (how === CORRUPT) {
      expect(result.remarks.join('\n')).toContain('alarm disarm');
      expect(await cluster.alarms()).toEqual([{ type: 'CORRUPT', memberId: gone }]);
      await cluster.disarmAlarms();
    } else expect(written).toBeGreaterThan(10);
    await expectWhole(cluster, gone);
    expect(oldData(member).length - before).toBe(how === 'its disk is gone' ? 0 : 1);
    expect(readFileSync(environmentFile, 'utf8')).toBe(settings.replace('STATE="new"', 'STATE="existing"'));
  }

  // Their time counts from the start of the first one, and each waits for its turn.
  test.concurrent.each(Object.keys(BREAKS).map((how, index) => ({ how, index })))(
    'when $how',
    { timeout: 360_000 },
    async ({ how, index }) => {
      const lane = lanes[index % 2]!;
      const work = lane.turn.then(() => bringBack(how, lane.cluster, join(folder, String(index))));
      // The next one has its turn whatever became of this one.
      lane.turn = work.catch(() => undefined);
      await work;
    },
  );
});
