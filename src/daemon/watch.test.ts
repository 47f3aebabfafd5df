import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clusterConfig, fakeClock, maintenanceConfig, recordingLogger } from '../../test/support/daemon-fakes.ts';
import type { ClusterView, MemberStatus, MemberView } from '../etcd/types.ts';
import { samplesFile } from '../maintenance/samples.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import type { Signs } from './maintenance.ts';
import type { Observe } from './observe.ts';
import type { ReadQuota } from './quotas.ts';
import { Watch } from './watch.ts';

const MIB = 1024 ** 2;
const MINUTE = 60_000;
const START = Date.parse('2026-11-22T12:00:00Z');

function member(id: number, part: Partial<MemberStatus> = {}): MemberView {
  const endpoint = `http://m${id}:2379`;
  const status: MemberStatus = {
    endpoint,
    clusterId: 0xabcn,
    memberId: BigInt(id),
    name: `m${id}`,
    role: id === 1 ? 'leader' : 'follower',
    leader: 1n,
    version: '3.6.16',
    storageVersion: '3.6.0',
    dbSize: 100 * MIB,
    dbSizeInUse: 90 * MIB,
    dbSizeQuota: 1000 * MIB,
    raftIndex: 10n,
    raftAppliedIndex: 10n,
    raftTerm: 2n,
    revision: BigInt(100 + id),
    alarms: [],
    latencyMs: 1,
    ...part,
  };
  return { reachable: true, endpoint, status };
}
const down: MemberView = { reachable: false, endpoint: 'http://m3:2379', name: 'm3', error: new Error('refused') };
const view = (...members: MemberView[]): ClusterView => ({ clusterId: 0xabcn, members, quorum: true, notes: [] });

describe('the watch on a cluster', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'watch-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function watch(observe: Observe, options: { readQuota?: ReadQuota; quota?: number; stateDir?: string } = {}) {
    const clock = fakeClock(START);
    const metrics = createMetrics();
    const { logger, lines } = recordingLogger();
    const signs: Signs[] = [];
    const config = clusterConfig({ maintenance: maintenanceConfig({ quota: options.quota }) });
    const samples = samplesFile(options.stateDir ?? folder, 'prod');
    const it = new Watch(config, {
      observe,
      readQuota: options.readQuota ?? (() => Promise.reject(new Error('closed'))),
      samples,
      clock,
      logger,
      metrics,
      seen: (found) => signs.push(found),
    });
    const { signal } = new AbortController();
    const metric = async (name: string): Promise<string[]> =>
      (await metrics.text()).split('\n').filter((line) => line.startsWith(`${name}{`));
    return { it, clock, lines, signs, samples, metric, signal, look: (sample?: boolean) => it.look(signal, sample) };
  }

  test('tells sizes, the quota of the member that is nearest to its own and who told it, and no member by its name', async () => {
    const { look, metric, it, signs } = watch(async () =>
      Promise.resolve(view(member(1), member(2, { dbSize: 300 * MIB, dbSizeQuota: 400 * MIB }), member(3, { dbSizeQuota: -1 }))),
    );
    await look();
    expect(await metric('etcd_warden_etcd_db_size_bytes')).toEqual([`etcd_warden_etcd_db_size_bytes{cluster="prod"} ${300 * MIB}`]);
    expect(await metric('etcd_warden_etcd_quota_bytes')).toEqual([
      `etcd_warden_etcd_quota_bytes{cluster="prod",source="status"} ${400 * MIB}`,
    ]);
    expect(await metric('etcd_warden_etcd_quota_share')).toEqual(['etcd_warden_etcd_quota_share{cluster="prod"} 0.75']);
    expect(it.seen?.members.map(({ quota }) => quota.bytes)).toEqual([1000 * MIB, 400 * MIB, undefined]);
    expect(signs).toEqual([{ noSpace: false, corrupt: false, crossed: ['too-free m2'], reachable: ['1', '2', '3'] }]);
  });

  test('a cluster without any quota has no series of it', async () => {
    let quota = 1000;
    const { look, metric } = watch(async () => Promise.resolve(view(member(1, { dbSizeQuota: quota }))));
    await look();
    expect(await metric('etcd_warden_etcd_quota_share')).toHaveLength(1);
    quota = -1;
    await look();
    expect([await metric('etcd_warden_etcd_quota_share'), await metric('etcd_warden_etcd_quota_bytes')]).toEqual([[], []]);
  });

  test('says which thresholds are crossed and which alarms are armed, each alarm once although all members tell it', async () => {
    const alarms = [
      { type: 'NOSPACE', memberId: 2n },
      { type: 'CORRUPT', memberId: 0n },
    ] as const;
    const { look, it, signs } = watch(async () =>
      Promise.resolve(view(member(1, { alarms }), member(2, { alarms, dbSize: 990 * MIB, dbSizeInUse: 200 * MIB }), down)),
    );
    await look();
    expect(signs).toEqual([{ noSpace: true, corrupt: true, crossed: ['near-quota m2'], reachable: ['1', '2'] }]);
    expect(it.seen?.alarms).toEqual([
      { type: 'NOSPACE', memberId: '2' },
      { type: 'CORRUPT', memberId: '0' },
    ]);
  });

  test('members of another cluster behind a configured address count for nothing', async () => {
    const { look, signs } = watch(async () =>
      Promise.resolve(view(member(1), member(2, { clusterId: 0xdefn, dbSize: 999 * MIB, alarms: [{ type: 'NOSPACE', memberId: 2n }] }))),
    );
    await look();
    expect(signs).toEqual([{ noSpace: false, corrupt: false, crossed: [], reachable: ['1'] }]);
  });

  test('while nobody answers the alarms stay, and nobody is reachable', async () => {
    let answers = true;
    const { look, it, signs } = watch(async () => {
      if (!answers) throw new Error('nobody');
      return Promise.resolve(view(member(1, { alarms: [{ type: 'NOSPACE', memberId: 1n }] })));
    });
    await look();
    answers = false;
    await look();
    expect(signs.at(-1)).toMatchObject({ noSpace: true, reachable: [] });
    expect(it.seen).toBeUndefined();
  });

  test('a look that is asked for while one lasts comes after it, and only once', async () => {
    const gates: (() => void)[] = [];
    const { look } = watch(async () => {
      await new Promise<void>((resolve) => gates.push(resolve));
      return view(member(1));
    });
    const done = Promise.all([look(), look(), look()]);
    gates[0]!();
    await expect.poll(() => gates.length).toBe(2);
    gates[1]!();
    await done;
    expect(gates).toHaveLength(2);
  });

  describe('samples', () => {
    test('are taken every ten minutes, and when maintenance has ended', async () => {
      const { look, clock, samples } = watch(async () => Promise.resolve(view(member(1), member(2))));
      for (let minute = 0; minute < 25; minute += 1) {
        await look();
        await clock.advance(MINUTE);
      }
      const times = async (): Promise<number[]> => (await samples.read()).marks.map(({ timeMs }) => (timeMs - START) / MINUTE);
      expect(await times()).toEqual([0, 10, 20]);
      await look(true);
      expect(await times()).toEqual([0, 10, 20, 25]);
      expect(await samples.read()).toMatchObject({ clusterId: 'abc', marks: [{ revision: 102n }, {}, {}, {}] });
      expect((await samples.read()).sizes).toHaveLength(8);
    });

    test('of hours tell when the quota is reached', async () => {
      let dbSize = 100 * MIB;
      const { look, clock, it, metric } = watch(async () => Promise.resolve(view(member(1, { dbSize, dbSizeInUse: dbSize }), member(2))));
      for (let at = 0; at < 12; at += 1) {
        await look();
        dbSize += 10 * MIB;
        await clock.advance(10 * MINUTE);
      }
      await look();
      // 220 MiB of 1000 by now, ten more in ten minutes: 13 hours.
      expect(it.outlook).toMatchObject({ member: '1' });
      expect(((it.outlook?.reachedMs ?? 0) - clock.now()) / 3_600_000).toBeCloseTo(13, 1);
      expect(await metric('etcd_warden_etcd_quota_reached_timestamp_seconds')).toHaveLength(1);
    });

    test('that cannot be written are complained of once, and nothing else suffers', async () => {
      writeFileSync(join(folder, 'no-folder'), '');
      const { look, clock, lines, signs } = watch(async () => Promise.resolve(view(member(1))), { stateDir: join(folder, 'no-folder') });
      await look();
      await clock.advance(20 * MINUTE);
      await look();
      expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
      expect(signs).toHaveLength(2);
      expect(readdirSync(folder)).toEqual(['no-folder']);
    });
  });

  describe('the quota of members that do not tell it with their Status', () => {
    const older = async (): Promise<ClusterView> => Promise.resolve(view(member(1, { dbSizeQuota: undefined }), member(2)));

    test('is read from their metrics, every ten minutes and not more often', async () => {
      const asked: string[] = [];
      const readQuota: ReadQuota = async (_, endpoint) => {
        asked.push(endpoint);
        return Promise.resolve({ memberId: '1', quotaBytes: 500 * MIB });
      };
      const { look, clock, it } = watch(older, { readQuota, quota: 7 });
      for (let minute = 0; minute < 20; minute += 1) {
        await look();
        await clock.advance(MINUTE);
      }
      expect(it.seen?.members[0]?.quota).toEqual({ bytes: 500 * MIB, source: 'metrics' });
      expect(asked).toEqual(['http://m1:2379', 'http://m1:2379']);
    });

    test('is what the configuration says where the metrics are closed, and they are not asked again at once', async () => {
      let asked = 0;
      const readQuota: ReadQuota = async () => {
        asked += 1;
        return Promise.reject(new Error('connection refused'));
      };
      const { look, it } = watch(older, { readQuota, quota: 700 * MIB });
      await look();
      await look();
      expect([asked, it.seen?.members[0]?.quota]).toEqual([1, { bytes: 700 * MIB, source: 'configured' }]);
    });

    test('stays what it was while the metrics cannot be read for once', async () => {
      let open = true;
      const readQuota: ReadQuota = async () =>
        open ? Promise.resolve({ memberId: '1', quotaBytes: 500 * MIB }) : Promise.reject(new Error('connection refused'));
      const { look, clock, it } = watch(older, { readQuota });
      await look();
      open = false;
      await clock.advance(10 * MINUTE);
      await look();
      expect(it.seen?.members[0]?.quota).toEqual({ bytes: 500 * MIB, source: 'metrics' });
    });

    test('is not that of another member which answers behind the same address', async () => {
      const readQuota: ReadQuota = async () => Promise.resolve({ memberId: '2', quotaBytes: 500 * MIB });
      const { look, it } = watch(older, { readQuota });
      await look();
      expect(it.seen?.members[0]?.quota).toEqual({ bytes: 2048 * MIB, source: 'default' });
    });
  });
});
