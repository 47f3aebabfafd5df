import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openLocalStore } from '../../../src/store/local/store.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import type { Order } from './child.ts';
import { canMount, carryOut, carryOutAs, carryOutLimited, carryOutMounted } from './run-child.ts';

const BYTES = 400_000;
const { signal } = new AbortController();
let folder: string;
let disk: string;
let spool: string;

beforeAll(() => {
  folder = temporaryFolder('disk');
  disk = join(folder, 'disk');
  spool = join(folder, 'spool');
  mkdirSync(disk);
  mkdirSync(spool);
});
afterAll(() => removeFolder(folder));

const order = (how: Order['how'], changes: Partial<Order> = {}): Order => ({
  store: { type: 'local', name: 'local', path: disk },
  how,
  key: 'prod/object',
  bytes: BYTES,
  ...changes,
});

describe.runIf(canMount)('a disk of its own', () => {
  test.each([
    ['the first byte', 0],
    ['the middle', BYTES / 2],
    ['the last byte', BYTES - 1],
  ])('fault 20: no room left at %s ends the write with path, free and needed bytes, and nothing stays', (_, leaveFree) => {
    for (const how of ['put', 'upload'] as const) {
      const { report, names } = carryOutMounted(order(how, { leaveFree, spoolFolder: spool }), disk, 'size=1m');
      expect(report).toMatchObject({ ok: false, code: 'disk-full' });
      expect((report as { message: string }).message).toMatch(new RegExp(`${disk} has no room: \\d+ bytes free, ${BYTES} needed`));
      expect(names).toEqual([join(disk, 'ballast')]);
    }
  });

  test('fault 20: too little room is found before anything is written', () => {
    const { report } = carryOutMounted(order('check', { bytes: 2_000_000 }), disk, 'size=1m');
    expect(report).toMatchObject({ ok: false, code: 'disk-full' });
    expect((report as { message: string }).message).toMatch(/bytes free, 2000000 needed/);
    expect(carryOutMounted(order('check'), disk, 'size=1m').report).toEqual({ ok: true });
  });

  test('fault 22: a read-only file system is refused before anything is written', () => {
    const readOnly = `mkdir -p ${disk}/.tmp && mount -o remount,ro ${disk}`;
    for (const how of ['check', 'put'] as const) {
      const { report } = carryOutMounted(order(how), disk, 'size=1m', readOnly);
      expect(report).toMatchObject({ ok: false, code: 'store-unavailable' });
      expect((report as { message: string }).message).toContain(`${disk} lies on a read-only file system`);
    }
  });
});

test('fault 20: a quota counts as a full disk', () => {
  const report = carryOutLimited(order('put', { key: 'prod/limited' }), 100);
  expect(report).toMatchObject({ ok: false, code: 'disk-full' });
  expect(readdirSync(join(disk, '.tmp'))).toEqual([]);
});

test.each(['000', '077'])('fault 25: with umask %s files are 0600 and folders 0700', (digits) => {
  const umask = Number.parseInt(digits, 8);
  const path = join(folder, `umask-${digits}`);
  const store = { type: 'local', name: 'local', path } as const;
  expect(carryOut(order('put', { store, key: 'a/b/put', umask }))).toEqual({ ok: true });
  expect(carryOut(order('upload', { store, key: 'a/b/copied', umask, spoolFolder: spool }))).toEqual({ ok: true });
  for (const name of ['', '.tmp', 'a', 'a/b']) expect(mode(join(path, name))).toBe(0o700);
  for (const name of ['a/b/put', 'a/b/copied']) expect(mode(join(path, name))).toBe(0o600);
});

/** Needs root and a file system with flags, which not every container has. */
function immutable(path: string, on: boolean): boolean {
  return spawnSync('chattr', [on ? '+i' : '-i', path]).status === 0;
}

test('a file that the file system will not let go is kept, not an error', async ({ skip }) => {
  const path = mkdtempSync(join(tmpdir(), 'immutable-'));
  const store = openLocalStore({ type: 'local', name: 'local', path });
  await store.put('a/b', Buffer.from('x'), { signal });
  skip(!immutable(join(path, 'a/b'), true), 'no right to set the immutable flag here');
  try {
    expect(await store.delete('a/b', { signal })).toEqual({
      outcome: 'kept',
      until: undefined,
      reason: expect.stringContaining('immutable'),
    });
    expect(await store.head('a/b', { signal })).toMatchObject({ size: 1 });
  } finally {
    immutable(join(path, 'a/b'), false);
    removeFolder(path);
  }
});

test('fault 22: a folder that this user may not write is refused before anything is written', ({ skip }) => {
  const path = mkdtempSync(join(tmpdir(), 'foreign-'));
  chmodSync(path, 0o555);
  // Root may write anywhere, so it becomes somebody else for this.
  const report =
    process.getuid?.() === 0
      ? carryOutAs(65_534, order('check', { store: { type: 'local', name: 'local', path } }))
      : carryOut(order('check', { store: { type: 'local', name: 'local', path } }));
  skip(report === undefined, 'the checkout cannot be read by another user');
  expect(report).toMatchObject({ ok: false, code: 'store-denied' });
  removeFolder(path);
});

function mode(path: string): number {
  return statSync(path).mode & 0o777;
}
