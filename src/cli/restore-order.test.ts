import { describe, expect, test } from 'vitest';
import { loadConfig } from '../config/load.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { RestoreOrder } from '../jobs/restore/prepare.ts';
import { fileNamed, restoreOrder } from './restore-order.ts';

function order(options: Readonly<Record<string, unknown>>, cluster?: ClusterConfig, ...words: string[]): RestoreOrder {
  return restoreOrder({ arguments: words, options }, cluster);
}

/** As a configuration without a file, of variables alone. */
function configured(env: Readonly<Record<string, string>>): ClusterConfig {
  return Object.values(loadConfig({ env, uses: [] }).config.clusters)[0]!;
}

const usage = (message: string): unknown => expect.objectContaining({ code: 'usage', message: expect.stringContaining(message) as string });

describe('what somebody asked restore for', () => {
  test('nothing but a backup: one member, everything as it is found', () => {
    expect(order({}, undefined, 'latest')).toEqual({
      source: { reference: 'latest', latest: false, at: undefined, revision: undefined },
      store: undefined,
      members: { initialCluster: undefined, members: [], advertised: undefined, planOnly: false },
      token: undefined,
      attempt: 1,
      dataDir: undefined,
      walDir: undefined,
      folder: process.cwd(),
      content: { only: [], without: [], defragmented: false, bump: 'auto' },
      etcdVersion: undefined,
      builder: 'auto',
      etcdutl: undefined,
      platform: 'auto',
      replace: false,
      owner: undefined,
      acceptSuspect: false,
    });
  });

  test('a file is told by its slash or dot, and takes no word that is for stores', () => {
    expect(order({ revision: '7' }, undefined, './snapshot.db').source).toEqual({ file: './snapshot.db', revision: 7n });
    expect(fileNamed({ arguments: ['2026-11-22T10:00:00.123'], options: {} })).toBeUndefined();
    for (const name of ['latest', 'at', 'store'])
      expect(() => order({ [name]: 'x' }, undefined, 'a.db')).toThrow(usage(`--${name} does not go with a file`));
  });

  test("etcdutl's names for things, and ours", () => {
    const { members, token } = order({
      name: ['m1'],
      member: ['m2'],
      initialClusterToken: 'mine',
      initialAdvertisePeerUrls: 'http://a:1',
      plan: true,
    });
    expect(members).toMatchObject({ members: ['m2', 'm1'], advertised: 'http://a:1', planOnly: true });
    expect(token).toBe('mine');
  });

  test('revisions are raised only as somebody said', () => {
    const bump = (options: Readonly<Record<string, unknown>>): unknown => order(options).content.bump;
    expect(bump({ bump: true })).toBe('auto');
    expect(bump({ bump: false })).toBe('none');
    expect(bump({ bumpRevision: '1000000000', markCompacted: true })).toEqual({ by: 1_000_000_000n });
    expect(bump({ bumpRevision: '5' })).toEqual({ by: 5n });
    expect(() => bump({ markCompacted: true })).toThrow(usage('--mark-compacted goes with --bump-revision'));
    expect(() => bump({ bump: false, bumpRevision: '5' })).toThrow(usage('--no-bump and --bump-revision exclude each other'));
    expect(() => bump({ bump: false, markCompacted: true })).toThrow(usage('--no-bump and --mark-compacted exclude each other'));
    for (const count of ['0', '-1', '1e9', '1000000000000000000000'])
      expect(() => bump({ bumpRevision: count })).toThrow(usage('is not a number of revisions'));
  });

  test('prefixes are bytes, and an empty one is a slip', () => {
    expect(order({ only: ['/a', '/ü'], without: ['/a/b'] }).content).toMatchObject({
      only: [Buffer.from('/a'), Buffer.from('/ü')],
      without: [Buffer.from('/a/b')],
    });
    for (const [name, flag] of Object.entries({ dataDir: 'data-dir', walDir: 'wal-dir' }))
      expect(() => order({ [name]: '' })).toThrow(usage(`--${flag} was given no path`));
    for (const name of ['only', 'without']) expect(() => order({ [name]: [''] })).toThrow(usage(`--${name} was given no prefix`));
  });

  test('a token of its own needs no attempt, and no blanks', () => {
    expect(order({ attempt: '3' }).attempt).toBe(3);
    expect(() => order({ attempt: '0' })).toThrow(usage('--attempt "0"'));
    expect(() => order({ attempt: '2', initialClusterToken: 'x' })).toThrow(usage('exclude each other'));
    for (const token of ['', 'a b']) expect(() => order({ initialClusterToken: token })).toThrow(usage('is empty or has blanks'));
  });

  test('what is chosen from a few words is one of them', () => {
    expect(order({ builder: 'native', platform: 'rke2', etcdutl: 'etcdutl' })).toMatchObject({
      builder: 'native',
      platform: 'rke2',
      etcdutl: 'etcdutl',
    });
    expect(order({ etcdutl: './etcdutl' }).etcdutl).toBe(`${process.cwd()}/etcdutl`);
    expect(() => order({ builder: 'best' })).toThrow(usage('--builder "best" is not one of auto, native, etcdutl'));
    expect(() => order({ platform: 'docker' })).toThrow(usage('--platform "docker"'));
  });

  test('the configuration counts where no flag is given', () => {
    const cluster = configured({
      ETCD_WARDEN_INITIAL_CLUSTER: 'm1=http://a:2380',
      ETCD_WARDEN_WAL_DIR: '/wal',
      ETCD_WARDEN_DATA_DIR: '/data',
      ETCD_WARDEN_ETCD_VERSION: '3.5',
      ETCD_WARDEN_BUILDER: 'native',
      ETCD_WARDEN_PLATFORM: 'systemd',
      ETCD_WARDEN_ETCDUTL: '/opt/etcdutl',
    });
    expect(order({}, cluster)).toMatchObject({
      members: { initialCluster: 'm1=http://a:2380' },
      dataDir: '/data',
      walDir: '/wal',
      etcdVersion: '3.5',
      builder: 'native',
      platform: 'systemd',
      etcdutl: '/opt/etcdutl',
    });
    const flags = {
      initialCluster: 'm2=http://b:2380',
      dataDir: 'd',
      walDir: 'w',
      etcdVersion: '3.6',
      builder: 'auto',
      platform: 'plain',
      etcdutl: 'e',
    };
    const { initialCluster, ...others } = flags;
    expect(order(flags, cluster)).toMatchObject({ members: { initialCluster }, ...others });
  });
});
