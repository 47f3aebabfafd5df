import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { removeFolder, temporaryFolder } from '../../../test/support/watchdog.ts';
import { findEtcd, quietEnvironment } from './program.ts';

const signal = new AbortController().signal;

test.each([
  ['etcd Version: 3.6.16', { version: '3.6.16', minor: '3.6' }],
  ['etcd Version: 3.3.9', /is etcd 3\.3\.9, which this version does not know/],
  ['hello', /cannot be run as an etcd/],
])('a program that says %j', async (says, expected) => {
  const folder = temporaryFolder('program');
  const path = join(folder, 'etcd');
  writeFileSync(path, `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 });
  const found = await findEtcd(path, signal);
  if (expected instanceof RegExp) expect(found).toMatch(expected);
  else expect(found).toEqual({ path, ...expected });
  removeFolder(folder);
});

test('one that is not there, and a stop', async () => {
  expect(await findEtcd('/nowhere/etcd', signal)).toBe('/nowhere/etcd cannot be run as an etcd');
  await expect(findEtcd('/nowhere/etcd', AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
});

test('it is told nothing of our environment but where programs are', () => {
  expect(Object.keys(quietEnvironment())).toEqual(['PATH', 'LANG']);
});
