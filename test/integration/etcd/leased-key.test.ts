import { queryObjects } from 'node:v8';
import { expect, test } from 'vitest';
import { startFakeMember } from '../../support/fake-member.ts';
import { CoordinationClient } from '../../../src/etcd/coordination-client.ts';
import { LeasedKey } from '../../../src/etcd/leased-key.ts';

test('a key that is renewed for weeks leaves no signals behind', async () => {
  await using member = await startFakeMember();
  const client = new CoordinationClient({
    name: 'prod',
    endpoints: [member.endpoint],
    requestTimeoutMs: 60_000,
    dialTimeoutMs: 60_000,
    streamIdleTimeoutMs: 60_000,
    discover: false,
  });
  try {
    const key = new LeasedKey(client, '/k', { holder: 'us', purpose: 'test', since: '' }, 60);
    const { signal } = new AbortController();
    expect(await key.acquire(signal)).toEqual({ outcome: 'held' });
    await key.renew(signal);
    const before = queryObjects(AbortSignal, { format: 'count' });
    for (let renewal = 0; renewal < 20; renewal++) {
      expect(await key.renew(signal)).toBe('renewed');
      expect(await key.stranger(signal)).toBeUndefined();
    }
    // Node keeps those of AbortSignal.timeout in AbortSignal.any until their time is over, and a nested one for ever.
    expect(queryObjects(AbortSignal, { format: 'count' }) - before).toBeLessThan(10);
  } finally {
    client.close();
  }
});
