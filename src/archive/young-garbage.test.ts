import { constants, PerformanceObserver } from 'node:perf_hooks';
import { expect, test } from 'vitest';
import { createSweeper } from './young-garbage.ts';

const MIB = 1024 * 1024;

test('the young generation is collected every few megabytes, and not more often', async () => {
  const seen: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) seen.push((entry as unknown as { detail: { flags: number } }).detail.flags);
  });
  observer.observe({ entryTypes: ['gc'] });
  const sweep = createSweeper();
  for (let step = 0; step < 96; step++) sweep(MIB);
  await new Promise((resolve) => setTimeout(resolve, 50));
  observer.disconnect();
  const forced = seen.filter((flags) => (flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0);
  expect(forced).toHaveLength(4);
});

test('it leaves no gc function lying about', () => {
  createSweeper();
  expect((globalThis as { gc?: unknown }).gc).toBeUndefined();
});
