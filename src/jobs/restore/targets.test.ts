import { describe, expect, test } from 'vitest';
import { resolveMembers, resolveTargets, type MembersWish } from './targets.ts';

const THREE = 'm1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://[2001:db8::3]:2380';
const members = (wish: Partial<MembersWish>): ReturnType<typeof resolveMembers> =>
  resolveMembers({ initialCluster: undefined, members: [], advertised: undefined, planOnly: false, ...wish });

describe('which members are made here', () => {
  test('without a word, the one that etcdutl makes', () => {
    expect(members({})).toEqual({ initialCluster: new Map([['default', ['http://localhost:2380']]]), names: ['default'] });
    expect([...members({ members: ['m1'] }).initialCluster]).toEqual([['m1', ['http://localhost:2380']]]);
    expect([...members({ members: ['m1'], advertised: 'http://b:2380,http://a:2380' }).initialCluster]).toEqual([
      ['m1', ['http://a:2380', 'http://b:2380']],
    ]);
  });

  test('the only one need not be named; of several, it must be', () => {
    expect(members({ initialCluster: 'm1=http://10.0.0.1:2380' }).names).toEqual(['m1']);
    expect(members({ initialCluster: THREE, members: ['m2', 'm3', 'm2'] }).names).toEqual(['m2', 'm3']);
    expect(members({ initialCluster: THREE, members: ['m2,m3'] }).names).toEqual(['m2', 'm3']);
    expect(members({ initialCluster: THREE, members: ['all'] }).names).toEqual(['m1', 'm2', 'm3']);
    expect(() => members({ initialCluster: THREE })).toThrow(
      expect.objectContaining({ code: 'usage', hint: expect.stringContaining('m1, m2, m3') as string }),
    );
  });

  test('a plan speaks of all, and of those that are here only when they are named', () => {
    expect(members({ initialCluster: THREE, planOnly: true }).names).toEqual([]);
    expect(members({ initialCluster: THREE, planOnly: true, advertised: 'http://10.0.0.1:2380' }).names).toEqual([]);
  });

  test('fault 72: a member that is not in the initial cluster is refused, with those that are', () => {
    expect(() => members({ initialCluster: THREE, members: ['m4'] })).toThrow(
      expect.objectContaining({
        code: 'usage',
        message: expect.stringContaining('"m4"'),
        hint: expect.stringContaining('m1, m2, m3') as string,
      }),
    );
  });

  test('peer URLs that are not those of the initial cluster are refused, as etcdutl does', () => {
    expect(members({ initialCluster: THREE, members: ['m1'], advertised: 'http://10.0.0.1:2380' }).names).toEqual(['m1']);
    expect(() => members({ initialCluster: THREE, members: ['m1'], advertised: 'http://10.0.0.9:2380' })).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining('http://10.0.0.9:2380') as string }),
    );
    expect(() => members({ initialCluster: THREE, members: ['all'], advertised: 'http://10.0.0.1:2380' })).toThrow(
      expect.objectContaining({ code: 'usage' }),
    );
  });

  test('two members with one URL are refused', () => {
    expect(() => members({ initialCluster: 'm1=http://a:2380,m2=http://a:2380', members: ['m1'] })).toThrow(
      expect.objectContaining({ code: 'usage', message: 'members m1 and m2 have the same peer URL http://a:2380' }),
    );
  });
});

describe('where they go', () => {
  test('the name of the member stands in the path', () => {
    expect(resolveTargets(['m1', 'm2'], 'data/{member}', '/wal/{member}', '/srv')).toEqual([
      { member: 'm1', dataDir: '/srv/data/m1', walDir: '/wal/m1' },
      { member: 'm2', dataDir: '/srv/data/m2', walDir: '/wal/m2' },
    ]);
    expect(resolveTargets(['m1'], '/var/lib/etcd/', undefined, '/')).toEqual([
      { member: 'm1', dataDir: '/var/lib/etcd', walDir: undefined },
    ]);
  });

  test('two in one place are refused, and a WAL in the place of the data', () => {
    expect(() => resolveTargets(['m1', 'm2'], '/data', undefined, '/')).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('{member}') as string }),
    );
    expect(() => resolveTargets(['m1', 'm2'], '/data/{member}', '/wal', '/')).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(() => resolveTargets(['m1'], '/data', '/data', '/')).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('--wal-dir') as string }),
    );
  });
});
