import { describe, expect, test } from 'vitest';
import { boltFile, type Entries, inMemory } from '../../test/support/bolt-file.ts';
import { encode } from '../../test/support/wire.ts';
import { type Bolt, openBolt } from '../boltdb/bolt.ts';
import { authOf } from './auth.ts';
import { leasesOf, parseLease } from './leases.ts';
import { membersOf } from './members.ts';
import { newerSchema, requireKnownSchema } from './schema.ts';

async function open(buckets: Record<string, Entries>): Promise<Bolt> {
  return openBolt(inMemory(boltFile({ meta: [], ...buckets }).bytes));
}

function id(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

describe('leases', () => {
  test('are read with ids of 63 bits and what is left of them', async () => {
    const far = 7587869134069612298n;
    const entries: Entries = [
      [id(5n), encode([1, 5], [2, 60])],
      [id(far), encode([1, far], [2, 3600], [3, 17], [4, 9], [5, 'later'])],
    ];
    const found = await Array.fromAsync(leasesOf(await open({ lease: entries })));
    expect(found).toEqual([
      { id: 5n, ttl: 60n, remaining: 0n },
      { id: far, ttl: 3600n, remaining: 17n },
    ]);
    expect(await Array.fromAsync(leasesOf(await open({})))).toEqual([]);
  });

  test('that contradict their place are refused', async () => {
    const read = async (key: Buffer, value: Buffer): Promise<unknown> => Array.fromAsync(leasesOf(await open({ lease: [[key, value]] })));
    await expect(read(Buffer.from('abc'), encode([1, 5]))).rejects.toMatchObject({ code: 'not-etcd' });
    await expect(read(id(255n), encode([1, 5]))).rejects.toThrow(/lease ff says that it is lease 5/);
    await expect(read(id(5n), Buffer.from([0x0a, 1, 5]))).rejects.toThrow(/a lease cannot be read: field 1 has wire type 2/);
    expect(() => parseLease(Buffer.from([0x08]))).toThrow(/ends inside/);
  });
});

describe('members', () => {
  const far = 10276657743932975437n;
  const json = (text: string, key = far.toString(16)): Promise<Bolt> => open({ members: [[key, text]] });

  test('are read with ids beyond 2^53, which JSON carries as numbers', async () => {
    const members: Entries = [
      [far.toString(16), `{"id":${far},"peerURLs":["http://a:2380"],"name":"m1","clientURLs":["http://a:2379"]}`],
      ['5', '{"id":5,"peerURLs":["http://b:2380"],"isLearner":true}'],
    ];
    expect(await membersOf(await open({ members, members_removed: [['ff', 'removed']] }))).toEqual({
      members: [
        { id: 5n, name: '', peerUrls: ['http://b:2380'], clientUrls: [], isLearner: true },
        { id: far, name: 'm1', peerUrls: ['http://a:2380'], clientUrls: ['http://a:2379'], isLearner: false },
      ],
      removed: [255n],
    });
    expect(await membersOf(await open({}))).toEqual({ members: [], removed: [] });
  });

  test.each([
    ['{', /is no JSON/],
    ['[1]', /is no object/],
    ['null', /is no object/],
    ['7', /is no object/],
    ['{"id":10276657743932975436}', /says that it is member 8e9e05c52164694c/],
    ['{"id":1.5}', /member without an id/],
    ['{"name":"m1"}', /member without an id/],
    [`{"id":${far},"name":7}`, /name that is no string/],
    [`{"id":${far},"isLearner":"yes"}`, /whether it is a learner/],
    [`{"id":${far},"peerURLs":[7]}`, /peerURLs that are no list of strings/],
    [`{"id":${far},"clientURLs":"http://a"}`, /clientURLs that are no list of strings/],
  ])('%s is refused', async (text, why) => {
    await expect(json(text).then((db) => membersOf(db))).rejects.toThrow(why);
  });

  test('with another key than an id are refused', async () => {
    for (const key of ['xyz', 'FF', '0x5', '11112222333344445'])
      await expect(json('{}', key).then((db) => membersOf(db))).rejects.toMatchObject({ code: 'not-etcd' });
  });
});

describe('users and roles', () => {
  const buckets: Record<string, Entries> = {
    auth: [
      ['authEnabled', Buffer.from([1])],
      ['authRevision', id(9n)],
    ],
    authUsers: [['root', encode([1, 'root'], [2, '$2a$10$secret'], [3, 'root'], [3, 'other'], [4, encode([1, true])])]],
    authRoles: [
      [
        'other',
        encode(
          [1, 'other'],
          [2, encode([1, 2], [2, 'a'], [3, Buffer.from([0])])],
          [2, encode([2, 'b'])],
          [2, encode([1, 7])],
          [3, 'later'],
        ),
      ],
      ['writer', encode([1, 'writer'], [2, encode([1, 1], [2, 'c'], [3, 'd'], [4, 1])])],
    ],
  };
  const none = Buffer.alloc(0);

  test('are read by name, and no hash of a password comes out', async () => {
    const auth = await authOf(await open(buckets));
    expect(auth).toEqual({
      enabled: true,
      revision: 9n,
      users: [{ name: 'root', roles: ['root', 'other'] }],
      roles: [
        {
          name: 'other',
          permissions: [
            { type: 'readwrite', key: Buffer.from('a'), rangeEnd: Buffer.from([0]) },
            { type: 'read', key: Buffer.from('b'), rangeEnd: none },
            { type: 'unknown', key: none, rangeEnd: none },
          ],
        },
        { name: 'writer', permissions: [{ type: 'write', key: Buffer.from('c'), rangeEnd: Buffer.from('d') }] },
      ],
    });
    expect(JSON.stringify(auth, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value))).not.toContain('$2a$');
  });

  test('absent buckets mean that nobody ever switched it on', async () => {
    expect(await authOf(await open({}))).toEqual({ enabled: false, revision: 0n, users: [], roles: [] });
    expect(await authOf(await open({ auth: [['authEnabled', Buffer.from([0])]] }))).toMatchObject({ enabled: false });
  });

  test('what is none is refused, without a byte of it', async () => {
    await expect(authOf(await open({ auth: [['authRevision', 'x']] }))).rejects.toThrow(/authRevision has 1 bytes/);
    const cut = encode([2, '$2a$10$secret']).subarray(0, 9);
    const error = await authOf(await open({ authUsers: [['root', cut]] })).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'not-etcd', message: expect.stringContaining('a user cannot be read') as string });
    expect((error as Error).message).not.toContain('$2a');
    await expect(authOf(await open({ authRoles: [['r', encode([1, 5])]] }))).rejects.toThrow(/a role cannot be read: field 1/);
    await expect(authOf(await open({ authRoles: [['r', encode([2, encode([1, 'x'])])]] }))).rejects.toThrow(/a permission cannot be read/);
    await expect(authOf(await open({ authUsers: [['r', encode([3, 5])]] }))).rejects.toThrow(/a user cannot be read/);
  });
});

describe('a file of a newer schema', () => {
  test('is known up to 3.7, whatever the patch', () => {
    for (const storageVersion of [undefined, '3.6.0', '3.7.0', '3.7.99', '3.7.0-alpha.1', '2.9.0'])
      expect(newerSchema({ storageVersion })).toBeUndefined();
    expect(() => requireKnownSchema({ storageVersion: '3.7.0' }, 'its proof')).not.toThrow();
  });

  test('bad input: a file of a newer schema is refused for proof, and said to be readable', () => {
    for (const storageVersion of ['3.8.0', '4.0.0', '10.1.2', '3.10.0']) {
      expect(newerSchema({ storageVersion })).toContain('this version knows etcd up to 3.7');
      expect(() => requireKnownSchema({ storageVersion }, 'its proof')).toThrow(
        expect.objectContaining({ code: 'newer-schema', exitCode: 14, hint: expect.stringContaining('keys can be read') as string }),
      );
    }
  });

  test('what is no version is no database of etcd', () => {
    for (const storageVersion of ['', 'x', '3', '3.6', '3.6.x', '99999999.0.0'])
      expect(() => newerSchema({ storageVersion }), storageVersion).toThrow(expect.objectContaining({ code: 'not-etcd' }));
  });
});
