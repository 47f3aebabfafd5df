import { createHash, randomFillSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { createHashThread } from './hash-thread.ts';

test('a thread hashes what it is handed, in order, and takes the memory along', async () => {
  const expected = createHash('sha256');
  const thread = createHashThread();
  for (let length = 0; length < 40; length += 1) {
    const bytes = randomFillSync(Buffer.allocUnsafeSlow(1 + length * 1000));
    expected.update(bytes);
    await thread.update(bytes);
    expect(bytes.length).toBe(0);
  }
  expect(await thread.digest()).toBe(expected.digest('hex'));
  await thread.close();
});

test('a thread can be ended before its end', async () => {
  const thread = createHashThread();
  await thread.update(Buffer.allocUnsafeSlow(1000));
  await thread.close();
});
