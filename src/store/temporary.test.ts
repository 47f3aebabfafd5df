import { describe, expect, test } from 'vitest';
import { bootOf } from './temporary.ts';

const files =
  (there: Readonly<Record<string, string>>) =>
  (path: string): string => {
    const text = there[path];
    if (text === undefined) throw new Error(`ENOENT ${path}`);
    return text;
  };
const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const MACHINE_ID = '/etc/machine-id';

describe('what tells one boot of one machine from all others', () => {
  test("is the kernel's boot id where it can be read", () => {
    expect(bootOf(files({ [BOOT_ID]: 'boot', [MACHINE_ID]: 'machine' }), 5000)).toBe('boot');
  });

  test('is the machine and when it started where /proc shows processes alone: the same for two of its processes, another after a reboot', () => {
    const read = files({ [MACHINE_ID]: 'machine' });
    expect(bootOf(read, 5000)).toBe(bootOf(read, 5001.2));
    expect(bootOf(read, 5000)).not.toBe(bootOf(read, 9000));
    expect(bootOf(read, 5000)).not.toBe(bootOf(files({ [MACHINE_ID]: 'other' }), 5000));
  });

  test('is unlike any other where nothing can be known: then only age counts', () => {
    expect(bootOf(files({}), 5000)).not.toBe(bootOf(files({}), 5000));
  });
});
