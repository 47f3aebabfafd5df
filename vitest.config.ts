import { defineConfig } from 'vitest/config';

// Two projects, so that the fast one can be run alone after every change. Two workers: the machines this is meant for have two cores,
// and a three-member etcd beside each integration file already uses more than that.
/** Their modules are replaced by others, or keep a state for the life of a process. */
const ALONE = ['src/store/local/delete.test.ts', 'src/cli/output/terminal.test.ts'];

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/project/{arrows,start}.test.ts'],
          exclude: ALONE,
          // Files share their modules: they hold no state between tests, and loading them anew for each file took a third of the time.
          isolate: false,
          testTimeout: 15_000,
        },
      },
      { test: { name: 'unit-alone', include: ALONE, testTimeout: 15_000 } },
      {
        test: {
          name: 'integration',
          // Those of the executable and of set-up start processes too.
          include: ['test/integration/**/*.test.ts', 'test/project/{bin,setup}.test.ts'],
          // Ten times what the slowest takes: two cores that others use as well may be as slow.
          testTimeout: 300_000,
          hookTimeout: 300_000,
          teardownTimeout: 30_000,
        },
      },
    ],
  },
});
