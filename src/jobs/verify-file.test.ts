import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boltFile, type BucketContents } from '../../test/support/bolt-file.ts';
import { naiveHashKv, randomHistory, stateAt } from '../../test/support/history.ts';
import { seeded } from '../../test/support/random.ts';
import { encode } from '../../test/support/wire.ts';
import type { Config } from '../config/types.ts';
import { verifyFile, type VerifiedFile } from './verify-file.ts';

const { signal } = new AbortController();
let folder = '';
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'verify-file-'))));
afterAll(() => rmSync(folder, { recursive: true }));

const history = randomHistory({ random: seeded(8), steps: 20 });

async function verify(buckets: BucketContents): Promise<VerifiedFile> {
  const key = history.records.map((record) => [record.key, record.value] as const);
  const { bytes } = boltFile({ key, meta: [], ...buckets }, { fanout: 4 });
  const path = join(folder, 'snapshot.db');
  writeFileSync(path, Buffer.concat([bytes, createHash('sha256').update(bytes).digest()]));
  return verifyFile(path, undefined, { config: { stateDir: folder } as Config, signal, progress: () => {} });
}

test('a file tells its members, leases, users and roles by name, and its keys and hash', async () => {
  const member = { id: 0xa1, peerURLs: ['http://10.0.0.1:2380'] };
  const found = await verify({
    meta: [['storageVersion', '3.6.0']],
    members: [
      ['a1', JSON.stringify({ ...member, name: 'm1', clientURLs: [] })],
      ['b2', JSON.stringify({ ...member, id: 0xb2 })],
    ],
    lease: [['\0\0\0\0\0\0\0\u0007', encode([1, 7n], [2, 60n])]],
    auth: [['authEnabled', Buffer.from([1])]],
    authUsers: [['root', encode([1, 'root'], [2, '$2a$secret'])]],
    authRoles: [['app', encode([1, 'app'])]],
  });
  expect(found).toMatchObject({
    outcome: 'ok',
    keyCount: stateAt(history.changes, history.revision).size,
    hash: naiveHashKv(history.records, history.revision, -1n),
    contents: { storageVersion: '3.6.0', members: ['m1', 'b2'], leaseCount: 1, authEnabled: true, users: ['root'], roles: ['app'] },
  });
  expect(JSON.stringify(found)).not.toContain('secret');
});

test('one that holds keys alone has none of these', async () => {
  expect(await verify({})).toMatchObject({
    contents: { storageVersion: null, members: [], leaseCount: 0, authEnabled: false, users: [], roles: [] },
  });
});

test('bad input: a file of a newer schema is refused, before anything of it is called damage', async () => {
  await expect(verify({ meta: [['storageVersion', '3.8.0']], members: [['no id', 'no JSON']] })).rejects.toMatchObject({
    code: 'newer-schema',
    message: expect.stringMatching(/^verifying .*snapshot\.db would be a guess: it was written by etcd 3\.8/),
  });
});

test('fault 9: a member that contradicts itself makes the file a damaged one', async () => {
  expect(await verify({ members: [['a1', '{"id":1}']] })).toMatchObject({ outcome: 'failed', code: 'not-etcd' });
});
