import { expect, test } from 'vitest';
import { ownKeys } from './own-keys.ts';

test('the lock, the leaders, the slots, the record of maintenance and the keys that are put for their own sake are our own, and nothing else below the prefix', () => {
  for (const prefix of ['/etcd-warden/', '/etcd-warden']) {
    const own = ownKeys(prefix);
    for (const key of ['/lock', '/advance', '/probe', '/leader/main', '/slots/main', '/maintenance/main', '/replace/main'])
      expect(own(Buffer.from(`/etcd-warden${key}`)), key).toBe(true);
    for (const key of ['/locks', '/lock/1', '/leader', '/slots', '/probes', '/maintenance', '/settings', '']) {
      expect(own(Buffer.from(`/etcd-warden${key}`)), key).toBe(false);
    }
    expect(own(Buffer.from('/other/lock'))).toBe(false);
  }
});
