import { expect, test } from 'vitest';
import { seeded } from '../../../test/support/random.ts';
import { LeafReader } from './leaf.ts';
import { Leaves } from './leaves.ts';
import { PageIndex } from './page-index.ts';

function leavesAt(pages: readonly number[]): Leaves {
  const leaves = new Leaves();
  for (const page of pages) leaves.add(page, 1, new LeafReader(0), 0);
  return leaves;
}

test('property: each leaf is found at its page, by its number, and nothing elsewhere', () => {
  const random = seeded(12);
  for (let round = 0; round < 20; round += 1) {
    const pages = 1 + random.below(400);
    const dense = 1 + random.below(5);
    const at = Array.from({ length: pages }, (_, page) => page).filter(() => random.below(dense) === 0);
    const index = new PageIndex(leavesAt(at), at.length, pages);
    const asked = Array.from({ length: pages + 70 }, (_, page) => page);
    expect(asked.map((page) => index.find(page))).toEqual(asked.map((page) => at.indexOf(page)));
  }
});

test('leaves beyond the first so many are not looked for, and a page far beyond the database has none', () => {
  const index = new PageIndex(leavesAt([3, 31, 32, 63, 64]), 3, 100);
  expect([3, 31, 32, 63, 64, 2 ** 40 + 3].map((page) => index.find(page))).toEqual([0, 1, 2, -1, -1, -1]);
  expect(new PageIndex(leavesAt([3]), 0, 0).find(3)).toBe(-1);
});
