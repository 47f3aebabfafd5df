import { describe, expect, test } from 'vitest';
import { parseLocks } from './in-use.ts';
import { isWithin, mountOf, parseMounts, readMounts } from './mounts.ts';

const TEXT = [
  '27 1 254:0 / / rw,relatime - ext4 /dev/vda rw',
  '25 24 0:23 / /var/lib/etcd rw,relatime shared:2 - tmpfs tmpfs rw',
  String.raw`26 24 8:17 /sub /mnt/two\040words\134 rw - xfs /dev/sdb1 rw`,
  '29 25 0:43 / /var/lib/etcd rw - tmpfs hides rw',
  'nonsense',
  '',
].join('\n');

describe('mounts', () => {
  test('are read with their device as locks print it, and names with blanks', () => {
    expect(parseMounts(TEXT)).toEqual([
      { path: '/', device: 'fe:00' },
      { path: '/var/lib/etcd', device: '00:17' },
      { path: '/mnt/two words\\', device: '08:11' },
      { path: '/var/lib/etcd', device: '00:2b' },
    ]);
  });

  test('the one that a path lies on is the deepest, and of two in one place the later', () => {
    const mounts = parseMounts(TEXT);
    expect(mountOf('/var/lib/etcd/member', mounts)?.device).toBe('00:2b');
    expect(mountOf('/var/lib/etcd2', mounts)?.device).toBe('fe:00');
    expect(mountOf('/', [])).toBeUndefined();
  });

  test('of this machine include the root, and none where there is no /proc', async () => {
    expect((await readMounts()).map(({ path }) => path)).toContain('/');
    expect(await readMounts('/nowhere')).toEqual([]);
  });

  test.each([
    ['/a/b', '/a/b', true],
    ['/a/b/c', '/a/b', true],
    ['/a/bc', '/a/b', false],
    ['/a', '/', true],
    ['/a', '/a/b', false],
  ])('%s within %s: %s', (path, folder, within) => {
    expect(isWithin(path, folder)).toBe(within);
  });
});

test('locks are read with who holds them, and not those who wait', () => {
  const text = [
    '1: FLOCK  ADVISORY  WRITE 4711 fd:01:1835012 0 EOF',
    '1: -> FLOCK  ADVISORY  WRITE 4712 fd:01:1835012 0 EOF',
    '2: OFDLCK ADVISORY  WRITE -1 00:2f:77 0 EOF',
    '',
  ].join('\n');
  expect(parseLocks(text)).toEqual([
    { pid: '4711', file: 'fd:01:1835012' },
    { pid: '-1', file: '00:2f:77' },
  ]);
});
