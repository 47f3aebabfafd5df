import { describe, expect, test } from 'vitest';
import type { PruneLine, PruneResult } from '../../jobs/prune.ts';
import { exitCodeOf } from './backup.ts';

const line = { store: 'a', id: 'x', action: 'remove', reasons: [], outcome: 'removed' } as const satisfies PruneLine;
const pruned = (changes: Partial<PruneResult>): PruneResult => ({ cluster: 'main', dryRun: false, lines: [line], skipped: [], ...changes });

describe('the exit code of a backup', () => {
  test.each([
    ['complete', 0],
    ['partial', 3],
    ['skipped', 0],
  ] as const)('%s: %i', (outcome, code) => {
    expect(exitCodeOf({ outcome }, undefined)).toBe(code);
  });

  test('a suspect backup is 13, even when it is partial', () => {
    expect(exitCodeOf({ outcome: 'partial', suspect: 'CORRUPT' }, undefined)).toBe(13);
  });

  test.each([
    ['did its part', pruned({}), 0],
    ['could not remove something', pruned({ lines: [{ ...line, outcome: 'failed' }] }), 3],
    ['was held up by a store that is away', pruned({ skipped: [{ store: 'b', message: 'down' }] }), 3],
    ['threw', new Error('no'), 3],
  ])('with --prune that %s', (_what, prune, code) => {
    expect(exitCodeOf({ outcome: 'complete' }, prune)).toBe(code);
  });
});
