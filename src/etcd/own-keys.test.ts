import { expect, test } from 'vitest';
import { ownKeys } from './own-keys.ts';

test('the lock, the leaders, the slots and the key that moves a revision on are our own, and nothing else below the prefix', () => {
  for (const prefix of ['/etcd-warden/', '/etcd-warden']) {
    const own = ownKeys(prefix);
    for (const key of ['/lock', '/advance', '/leader/main', '/slots/main']) expect(own(Buffer.from(`/etcd-warden${key}`)), key).toBe(true);
    for (const key of ['/locks', '/lock/1', '/leader', '/slots', '/settings', '']) {
      expect(own(Buffer.from(`/etcd-warden${key}`)), key).toBe(false);
    }
    expect(own(Buffer.from('/other/lock'))).toBe(false);
  }
});
