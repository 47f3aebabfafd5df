import { expect, test } from 'vitest';
import { LITTLE_ENDIAN } from './byte-order.ts';
import { leafEntries, leafOffsets, type Page } from './page.ts';
import { branchFault, runFault } from './strict.ts';

test('a page of a tree has fewer elements than the count that means something else in a list of free pages', () => {
  const bytes = Buffer.alloc(16 + 0xffff * 16);
  const page: Page = { id: 9, inline: false, kind: 'branch', path: ['key'], order: LITTLE_ENDIAN, count: 0xffff, bytes };
  expect(branchFault(page)).toMatch(/65535 elements/);
});

test.each([
  [1, 4095, undefined],
  [1, 4096, undefined],
  [2, 4096, undefined],
  [2, 4095, '2 pages belong to it, its 4095 bytes need 1 at most'],
  [4, 8192, '4 pages belong to it, its 8192 bytes need 3 at most'],
])('a run of %i pages for %i bytes, as every version of bbolt rounds', (pages, content, fault) => {
  const page = { id: 9, inline: false, kind: 'leaf' as const, path: [], order: LITTLE_ENDIAN, count: 0, bytes: Buffer.alloc(16), pages };
  expect(runFault(page, 4096, content)).toBe(fault);
});

test('the array for offsets is used again when it is large enough', () => {
  const count = 1500;
  const bytes = Buffer.alloc(16 + count * 18);
  for (let i = 0; i < count; i += 1) {
    const at = 16 + i * 16;
    const key = 16 + count * 16 + i * 2;
    bytes.writeUInt32LE(key - at, at + 4);
    bytes.writeUInt32LE(2, at + 8);
    bytes.writeUInt16BE(i, key);
  }
  const page: Page = { id: 9, inline: false, kind: 'leaf', path: ['key'], order: LITTLE_ENDIAN, count, bytes };
  const offsets = leafOffsets(page);
  expect(offsets.length).toBe(count * 3);
  expect(leafOffsets(page, {}, offsets)).toBe(offsets);
  expect(leafOffsets(page, {}, new Uint32Array(5))).not.toBe(offsets);
  expect(leafEntries(page).map(({ key }) => key.readUInt16BE(0))).toEqual(Array.from({ length: count }, (_, i) => i));
});
