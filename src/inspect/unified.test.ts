import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { unifiedLines } from './unified.ts';

/** Carries out a unified text as `patch` does, by the line numbers of its heads. */
function patched(before: readonly string[], diff: readonly string[]): string[] {
  const result: string[] = [];
  let at = 0;
  for (const line of diff) {
    const head = /^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@$/u.exec(line);
    if (head !== null) {
      const start = Number(head[1]) - (head[2] === '0' ? 0 : 1);
      while (at < start) result.push(before[at++]!);
    } else if (line.startsWith('+')) result.push(line.slice(1));
    else {
      expect(before[at]).toBe(line.slice(1));
      if (line.startsWith(' ')) result.push(line.slice(1));
      at += 1;
    }
  }
  return [...result, ...before.slice(at)];
}

const text = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 20 });

describe('a unified text', () => {
  test('carried out on the old lines it gives the new ones', () => {
    fc.assert(
      fc.property(text, text, (before, after) => {
        expect(patched(before, unifiedLines(before, after))).toEqual(after);
      }),
      { seed: 5 },
    );
  });

  test('is as diff -u prints it: heads, three lines around, hunks that touch are one', () => {
    const before = Array.from({ length: 30 }, (_, i) => `line ${i}`);
    const after = before.with(2, 'new').with(9, 'other').toSpliced(25, 1);
    expect(unifiedLines(before, after).filter((line) => line.startsWith('@'))).toEqual(['@@ -1,13 +1,13 @@', '@@ -23,7 +23,6 @@']);
    expect(unifiedLines(['a'], ['b'])).toEqual(['@@ -1 +1 @@', '-a', '+b']);
    expect(unifiedLines([], ['a', 'b'])).toEqual(['@@ -0,0 +1,2 @@', '+a', '+b']);
    expect(unifiedLines(['a'], ['a'])).toEqual([]);
  });

  test('of texts that have too little in common is the one whole and the other', () => {
    const before = Array.from({ length: 1100 }, (_, i) => `a${i}`);
    const after = Array.from({ length: 1100 }, (_, i) => `b${i}`);
    const lines = unifiedLines(before, after);
    expect(lines).toHaveLength(2201);
    expect(patched(before, lines)).toEqual(after);
  });
});
