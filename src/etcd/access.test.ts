import { expect, test } from 'vitest';
import type { ClusterConfig } from '../config/types.ts';
import { accessOf } from './access.ts';

test('the same configuration gives the same access, whose password is read anew each time', () => {
  let secret = 'one';
  const cluster = {
    name: 'a',
    endpoints: ['http://127.0.0.1:2379'],
    tls: { caFile: '/ca.crt' },
    user: 'root',
    password: { origin: 'a test', read: () => secret },
    discover: true,
    requestTimeoutMs: 1,
    dialTimeoutMs: 2,
    streamIdleTimeoutMs: 3,
  } as unknown as ClusterConfig;
  const access = accessOf(cluster);
  expect(accessOf(cluster)).toBe(access);
  expect(accessOf({ ...cluster })).not.toBe(access);
  expect(access).toMatchObject({
    name: 'a',
    endpoints: ['http://127.0.0.1:2379'],
    tls: { caFile: '/ca.crt' },
    user: 'root',
    requestTimeoutMs: 1,
    dialTimeoutMs: 2,
    streamIdleTimeoutMs: 3,
    discover: true,
  });
  expect(access.password?.()).toBe('one');
  secret = 'two';
  expect(access.password?.()).toBe('two');
});
