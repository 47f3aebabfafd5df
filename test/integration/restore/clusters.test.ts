/**
 * Real clusters of every size and minor, from data directories that this program made. What is compared in the end is never only its own record: it is what the
 * members of the source cluster answered.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { ETCD_MINORS, type EtcdMinor } from '../../../tools/programs.ts';
import type { MemberHash } from '../../../src/etcd/types.ts';
import type { RestoreRecord } from '../../../src/format/types.ts';
import { checkRestored } from '../../../src/restore/check/check.ts';
import { startCluster, type ClusterOptions } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { hashAt, rebuild } from '../../support/rebuild.ts';
import { newSites, startRestored, type RestoredCluster, type Site } from '../../support/restored.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const { signal } = new AbortController();

let folder: string;
beforeAll(() => {
  folder = temporaryFolder('restore-clusters');
  return () => removeFolder(folder);
});

interface Source {
  readonly file: string;
  readonly revision: bigint;
  /** What the source's member answered at the revision of the snapshot. */
  readonly hash: MemberHash;
}

/** A history with everything in it that etcd keeps: overwritten and deleted keys, a compaction in the middle of them, leases. */
async function history(minor: EtcdMinor, name: string): Promise<Source> {
  await using cluster = await startCluster({ minor });
  const ctl = cluster.etcdctl;
  await cluster.fill({ keys: 400, valueBytes: 300 });
  await ctl(['del', '/fill/000001', '--prefix']);
  await ctl(['put', 'kept', 'first']);
  await ctl(['put', 'kept', 'second']);
  const [, lease] = /lease ([0-9a-f]+) granted/.exec(await ctl(['lease', 'grant', '3600'])) ?? [];
  await ctl(['put', 'leased', 'for an hour', `--lease=${lease}`]);
  await ctl(['del', 'leased']);
  const deletion = (await cluster.members[0]!.status()).revision;
  await ctl(['put', 'leased', 'again', `--lease=${lease}`]);
  // Just at a deletion, where releases differ in what they keep (etcd #18274).
  await ctl(['compact', String(deletion)]);
  await cluster.fill({ keys: 60, valueBytes: 300, seed: 2 });
  return await snapshotOf(cluster, name);
}

type Saved = Awaited<ReturnType<typeof startCluster>>;

async function snapshotOf(cluster: Saved, name: string, login?: { readonly user: string; readonly password: string }): Promise<Source> {
  const file = join(folder, `${name}.db`);
  const endpoint = cluster.members[0]!.direct;
  const hash = await hashAt(endpoint, 0n, login);
  await cluster.etcdctl(['snapshot', 'save', file], { endpoints: [endpoint] });
  return { file, revision: hash.currentRevision, hash };
}

/** @returns the outcome and why, so that a failure says it */
async function checked(
  record: RestoreRecord,
  cluster: RestoredCluster,
): Promise<{ readonly outcome: string; readonly reasons: readonly string[] }> {
  const { outcome, reasons } = await checkRestored({ record, access: cluster.access(), signal, progress: () => {}, timeoutMs: 30_000 });
  return { outcome, reasons };
}

const RESTORED = { outcome: 'restored', reasons: [] };

/** Every member at the same revision, with the same data: also one that joined later. */
async function sameEverywhere(cluster: RestoredCluster): Promise<void> {
  let answers: MemberHash[] = [];
  await until(
    async () => {
      answers = [];
      for (const member of cluster.members) answers.push(await hashAt(member.direct, 0n));
      return new Set(answers.map(({ currentRevision, compactRevision }) => `${currentRevision}/${compactRevision}`)).size === 1;
    },
    () =>
      `members stay at different revisions: ${answers.map(({ currentRevision, compactRevision }) => `${currentRevision}/${compactRevision}`).join(', ')}`,
    { everyMs: 100 },
  );
  expect(new Set(answers.map(({ hash }) => hash)).size, JSON.stringify(answers.map(({ hash }) => hash))).toBe(1);
}

async function useIt(cluster: RestoredCluster): Promise<void> {
  const ctl = cluster.etcdctl;
  for (let index = 0; index < 20; index++) await ctl(['put', `after/${index}`, 'x'.repeat(500)]);
  await ctl(['del', 'after/1', '--prefix']);
  const status = await cluster.members[0]!.status();
  await ctl(['compact', String(status.revision)]);
  await ctl(['defrag']);
}

async function restartAll(cluster: RestoredCluster): Promise<void> {
  // As a machine that loses power does: a leader that is told to end first looks for another one, for seconds.
  await Promise.all(cluster.members.map((member) => member.kill()));
  await Promise.all(cluster.members.map((member) => member.restart({ wait: false })));
  await Promise.all(cluster.members.map((member) => member.waitHealthy()));
}

async function valueOf(cluster: RestoredCluster, key: string): Promise<string> {
  return (await cluster.etcdctl(['get', key, '--print-value-only'])).trimEnd();
}

describe.each(ETCD_MINORS)('etcd %s', (minor) => {
  let source: Source;
  beforeAll(async () => {
    source = await history(minor, `history-${minor}`);
  });

  test('three members, each made by another builder, are one cluster with the data of the source; a fourth gets all of it; it lives on', async () => {
    const sites = await newSites(3, join(folder, `three-${minor}`));
    const [first, second, third] = sites as [Site, Site, Site];
    const build = { file: source.file, minor, sites };
    const built = [
      await rebuild({ ...build, make: [first], builder: 'native' }),
      await rebuild({ ...build, make: [second], builder: 'etcdutl' }),
      await rebuild({ ...build, make: [third], builder: 'native', content: { defragmented: true } }),
    ];
    expect(built.map(({ builder }) => builder.name)).toEqual(['native', 'etcdutl', 'native']);
    const { record } = built[0]!;
    for (const other of built) {
      expect(other.record).toMatchObject({
        clusterId: record.clusterId,
        hash: source.hash.hash,
        revision: String(source.revision),
        compactRevision: String(source.hash.compactRevision),
      });
    }
    await using cluster = await startRestored({ minor, sites, token: record.token });
    expect(await checked(record, cluster)).toEqual(RESTORED);
    expect((await hashAt(first.client, source.revision)).hash).toBe(source.hash.hash);
    expect(await valueOf(cluster, 'kept')).toBe('second');
    expect(await valueOf(cluster, 'leased')).toBe('again');

    const [fourth] = await newSites(1, join(folder, `fourth-${minor}`));
    await cluster.grow({ ...fourth!, name: 'm4' });
    await sameEverywhere(cluster);
    await useIt(cluster);
    await sameEverywhere(cluster);
    await restartAll(cluster);
    await sameEverywhere(cluster);
    expect(await valueOf(cluster, 'kept')).toBe('second');
  });

  test('fault 73: raised revisions: old watches end with ErrCompacted, the next write is one above, and the check proves it', async () => {
    const sites = await newSites(1, join(folder, `raised-${minor}`));
    const { record } = await rebuild({ file: source.file, minor, sites, content: { bump: { by: 1_000_000n } } });
    const target = source.revision + 1_000_000n;
    expect(record).toMatchObject({ revision: String(target), compactRevision: String(target), raisedFrom: String(source.revision) });
    await using cluster = await startRestored({ minor, sites, token: record.token });
    expect(await checked(record, cluster)).toEqual(RESTORED);
    await expect(cluster.etcdctl(['watch', 'kept', `--rev=${source.revision}`])).rejects.toThrow(/required revision has been compacted/);
    expect(await valueOf(cluster, 'kept')).toBe('second');
    // Nothing is there that was not there before.
    expect((await cluster.etcdctl(['get', '', '--from-key', '--keys-only'])).split('\n')[0]).toBe('/fill/00000000');
    await cluster.etcdctl(['put', 'next', 'x']);
    expect((await cluster.members[0]!.status()).revision).toBe(target + 1n);
    // Now the recorded revision has to be asked for by its number, and it is the one at which the history was compacted: 3.4.27 and 3.5.10 were the first to answer.
    expect(await checked(record, cluster)).toMatchObject(minor === '3.4' ? { outcome: 'inconclusive' } : RESTORED);
    await restartAll(cluster);
    expect((await cluster.members[0]!.status()).revision).toBe(target + 1n);
    if (minor !== '3.6') return;
    // Half the time of this file would go into waiting for elections of two.
    const [more] = await newSites(1, join(folder, 'raised-more'));
    await cluster.grow({ ...more!, name: 'm2' });
    await sameEverywhere(cluster);
  });
});

test.each([
  ['3.4', '3.5'],
  ['3.5', '3.6'],
  ['3.6', '3.7'],
] as const)('a snapshot of %s restored for %s, by both builders', async (from, to) => {
  const file = join(folder, `history-${from}.db`);
  // The matrix above leaves it; alone, this test makes its own.
  const source = existsSync(file) ? { file } : await history(from, `next-${from}`);
  for (const builder of ['native', 'etcdutl'] as const) {
    const sites = await newSites(1, join(folder, `next-${from}-${builder}`));
    const { record } = await rebuild({ file: source.file, minor: to, sites, builder });
    await using cluster = await startRestored({ minor: to, sites, token: record.token });
    expect(await checked(record, cluster), builder).toEqual(RESTORED);
    await useIt(cluster);
    await restartAll(cluster);
    expect(await valueOf(cluster, 'kept')).toBe('second');
  }
});

test.each(ETCD_MINORS)('five members of etcd %s, prepared in one go', async (minor) => {
  const file = join(folder, `history-${minor}.db`);
  // As above.
  const source = existsSync(file) ? { file } : await history(minor, 'five');
  const sites = await newSites(5, join(folder, `five-${minor}`));
  const { record, targets } = await rebuild({ file: source.file, minor, sites });
  expect(targets.map(({ member }) => member)).toEqual(sites.map(({ name }) => name));
  await using cluster = await startRestored({ minor, sites, token: record.token });
  expect(await checked(record, cluster)).toEqual(RESTORED);
  await useIt(cluster);
  await sameEverywhere(cluster);
  await restartAll(cluster);
  await sameEverywhere(cluster);
});

test('two attempts on the same addresses never talk to each other', async () => {
  const source = await history('3.5', 'attempts');
  const sites = await newSites(3, join(folder, 'attempts'));
  const again = sites.map((site) => ({ ...site, dataDir: `${site.dataDir}-2` }));
  const first = await rebuild({ file: source.file, minor: '3.5', sites });
  const second = await rebuild({ file: source.file, minor: '3.5', sites: again, attempt: 2 });
  expect(second.record.clusterId).not.toBe(first.record.clusterId);
  // The operator forgot to clear the third machine: there the other attempt comes up.
  const mixed = [...sites.slice(0, 2), again[2]!];
  await using cluster = await startRestored({ minor: '3.5', sites: mixed, token: first.record.token, wait: false });
  await Promise.all(cluster.members.slice(0, 2).map((member) => member.waitHealthy()));
  const stranger = cluster.members[2]!;
  await until(() => /cluster ID mismatch/.test(stranger.output() + cluster.members[0]!.output()), 'no member noticed the other cluster');
  await cluster.etcdctl(['put', 'only', 'here'], { endpoints: [sites[0]!.client] });
  // Alone it has no quorum, so it never comes to serve clients; the others go on without it, and the check names it.
  expect(stranger.output()).not.toContain('ready to serve client requests');
  const early = await checkRestored({ record: first.record, access: cluster.access(), signal, progress: () => {}, timeoutMs: 1_000 });
  expect(early.outcome).toBe('waiting');
  expect(early.reasons.join()).toMatch(/m3 \(\w+\) did not answer/);
  // The right directory in its place, and the three are one cluster.
  await stranger.kill();
  await using right = await startRestored({ minor: '3.5', sites: [sites[2]!], token: first.record.token, joining: sites });
  const access = cluster.access({ endpoints: [...sites.slice(0, 2).map(({ client }) => client), right.members[0]!.endpoint] });
  expect(await checkRestored({ record: first.record, access, signal, progress: () => {}, timeoutMs: 30_000 })).toMatchObject(RESTORED);
});
describe('what a source may hold besides keys', () => {
  const root = { user: 'root', password: 'root' };

  async function restoredFrom(
    options: ClusterOptions,
    prepare: (cluster: Saved) => Promise<void>,
    login?: typeof root,
  ): Promise<{ readonly source: Source; readonly cluster: RestoredCluster; readonly record: RestoreRecord }> {
    const name = `special-${++specials}`;
    await using from = await startCluster(options);
    await prepare(from);
    const source = await snapshotOf(from, name, login);
    const sites = await newSites(1, join(folder, name));
    const { record } = await rebuild({ file: source.file, minor: options.minor, sites });
    const cluster = await startRestored({
      minor: options.minor,
      sites,
      token: record.token,
      ...(login === undefined ? {} : { auth: login }),
    });
    return { source, cluster, record };
  }
  let specials = 0;

  test('no keys at all', async () => {
    const { cluster, record } = await restoredFrom({ minor: '3.6' }, async () => {});
    await using _ = cluster;
    expect(record).toMatchObject({ revision: '1', compactRevision: '-1', keyCount: 0 });
    expect(await checked(record, cluster)).toEqual(RESTORED);
    await cluster.etcdctl(['put', 'first', 'x']);
    expect((await cluster.members[0]!.status()).revision).toBe(2n);
  });

  test('users, roles and a learner: users stay, the learner is none of the new members', async () => {
    const { cluster, record } = await restoredFrom(
      { minor: '3.5', auth: true, learner: true },
      async (from) => {
        await from.etcdctl(['user', 'add', 'reader:secret']);
        await from.etcdctl(['role', 'add', 'reading']);
        await from.etcdctl(['role', 'grant-permission', 'reading', 'read', 'kept']);
        await from.etcdctl(['user', 'grant-role', 'reader', 'reading']);
        await from.etcdctl(['put', 'kept', 'value']);
      },
      root,
    );
    await using _ = cluster;
    expect(await checked(record, cluster)).toEqual(RESTORED);
    expect(await cluster.etcdctl(['user', 'list'])).toBe('reader\nroot\n');
    expect((await cluster.etcdctl(['member', 'list'])).trim().split('\n')).toHaveLength(1);
  });

  test('an armed NOSPACE alarm is left behind: the restored cluster takes writes', async () => {
    const { cluster, record } = await restoredFrom({ minor: '3.7' }, async (from) => {
      await from.etcdctl(['put', 'kept', 'value']);
      await from.raiseAlarm('NOSPACE', from.members[0]!);
    });
    await using _ = cluster;
    expect(await checked(record, cluster)).toEqual(RESTORED);
    await cluster.etcdctl(['put', 'taken', 'x']);
    expect(await cluster.etcdctl(['alarm', 'list'])).toBe('');
  });

  test('regression: a lease that has expired by the time of the restore: its key is there at the revision promised, and goes when the lease ends anew', async () => {
    const { source, cluster, record } = await restoredFrom({ minor: '3.6' }, async (from) => {
      await from.etcdctl(['put', 'stays', 'x']);
      const granted = async (seconds: string): Promise<string> =>
        /lease ([0-9a-f]+) granted/.exec(await from.etcdctl(['lease', 'grant', seconds]))![1]!;
      await from.etcdctl(['put', 'long', 'x', `--lease=${await granted('3600')}`]);
      await from.etcdctl(['put', 'short', 'x', `--lease=${await granted('6')}`]);
    });
    await using _ = cluster;
    expect(record.keyCount).toBe(3);
    // Whether or not the lease has ended again by now: the recorded revision is still there to be asked for.
    expect(await checked(record, cluster)).toEqual(RESTORED);
    expect((await cluster.etcdctl(['get', 'short', `--rev=${source.revision}`, '--print-value-only'])).trim()).toBe('x');
    await until(async () => (await valueOf(cluster, 'short')) === '', 'the lease never ended', { everyMs: 200 });
    expect(await valueOf(cluster, 'long')).toBe('x');
    expect(await cluster.etcdctl(['lease', 'list'])).toMatch(/found 1 leases/);
  });
});
