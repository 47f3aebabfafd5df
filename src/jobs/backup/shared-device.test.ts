import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { flagOf, servesAny, sharedDeviceWarning } from './shared-device.ts';

describe('a device shared with etcd', () => {
  test('is named with both folders', async () => {
    const folder = join(tmpdir(), 'not', 'yet', 'made');
    expect(await sharedDeviceWarning(folder, tmpdir(), [])).toContain(`the same device as etcd's data directory ${tmpdir()}`);
  });

  test('is not seen where the devices differ', async () => {
    expect(await sharedDeviceWarning(tmpdir(), '/proc', [])).toBeUndefined();
  });

  test.each([
    [['etcd', '--data-dir', '/a'], '/a'],
    [['etcd', '-data-dir=/b c', '--name', 'x'], '/b c'],
    [['etcd', '--name', 'x'], undefined],
  ])('the data directory is read from the command line %j', (words, expected) => {
    expect(flagOf(words, 'data-dir')).toBe(expected);
  });

  test.each([
    [['etcd', '--listen-client-urls=https://0.0.0.0:2379,http://127.0.0.1:2381'], true],
    [['etcd', '--advertise-client-urls', 'http://10.0.0.1:12379'], false],
    [['etcd', '--data-dir=/a'], true],
  ])('an etcd counts by the ports that it serves: %j', (words, expected) => {
    expect(servesAny(words, ['https://10.0.0.1:2379'])).toBe(expected);
  });
});
