import { defineConfig } from 'vitest/config';

// Two projects, so that the fast one can be run alone after every change. Two workers: the machines this is meant for have two cores,
// and a three-member etcd beside each integration file already uses more than that.
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/project/arrows.test.ts'],
          testTimeout: 15_000,
        },
      },
      {
        test: {
          name: 'integration',
          // Those of the executable and of set-up start processes too.
          include: ['test/integration/**/*.test.ts', 'test/project/{bin,setup}.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          teardownTimeout: 30_000,
        },
      },
    ],
  },
});
