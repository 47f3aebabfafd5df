import { describe, expect, test } from 'vitest';
import { chooseMinor, type VersionFacts } from './versions.ts';

const minor = (facts: Partial<VersionFacts>): ReturnType<typeof chooseMinor> =>
  chooseMinor({ asked: undefined, backup: undefined, head: undefined, installed: undefined, ...facts });

describe('for which release a directory is built', () => {
  test('for that of the backup, unless another one is asked for', () => {
    expect(minor({ backup: '3.5.9' })).toMatchObject({ minor: '3.5', notes: [] });
    expect(minor({ backup: '3.5.9', asked: '3.6' })).toMatchObject({ minor: '3.6', reason: 'it was asked for' });
    expect(minor({ backup: '3.6.0-rc.1', asked: 'v3.6.4' })).toMatchObject({ minor: '3.6' });
  });

  test('another etcd on this machine is worth a word', () => {
    expect(minor({ backup: '3.5.9', installed: '3.6.16' }).notes).toEqual([expect.stringContaining('--etcd-version 3.6')]);
    expect(minor({ backup: '3.5.9', installed: '3.5.35' }).notes).toEqual([]);
  });

  test('a file tells its schema alone, so the etcd on this machine decides where it can', () => {
    const head = { etcdSchema: '3.6+', storageVersion: '3.6.0' } as const;
    expect(minor({ head })).toMatchObject({ minor: '3.6', reason: 'the file was written by etcd 3.6' });
    expect(minor({ head, installed: '3.7.3' })).toMatchObject({ minor: '3.7', notes: [expect.stringContaining('written by etcd 3.6')] });
    expect(minor({ head, installed: '3.6.16' })).toMatchObject({ minor: '3.6', notes: [] });
    expect(minor({ head, installed: '3.5.35' })).toMatchObject({ minor: '3.6', reason: 'the file was written by etcd 3.6' });
    expect(minor({ head: { etcdSchema: '3.4', storageVersion: undefined } })).toMatchObject({ minor: '3.4' });
  });

  test('the next release starts on what the one before left, even 3.4 on 3.3', () => {
    expect(minor({ backup: '3.4.23', asked: '3.5' }).minor).toBe('3.5');
    expect(minor({ backup: '3.3.27' }).minor).toBe('3.4');
  });

  test('a snapshot of 3.4 on 3.7 is refused with the way through', () => {
    expect(() => minor({ backup: '3.4.23', asked: '3.7' })).toThrow(
      expect.objectContaining({ code: 'refused', hint: expect.stringContaining('restore it for etcd 3.4, start that') as string }),
    );
    expect(() => minor({ backup: '3.4.23', asked: '3.7' })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('3.4 -> 3.5 -> 3.6 -> 3.7') as string }),
    );
    expect(() => minor({ backup: '3.2.0', asked: '3.5' })).toThrow(expect.objectContaining({ code: 'refused' }));
  });

  test('a newer one on an older is refused', () => {
    expect(() => minor({ backup: '3.6.4', asked: '3.5' })).toThrow(
      expect.objectContaining({ code: 'refused', message: expect.stringContaining('does not start on the data of a newer one') as string }),
    );
  });

  test('what nobody builds for is refused, what is no release is a mistake', () => {
    expect(() => minor({ backup: '3.8.0' })).toThrow(expect.objectContaining({ code: 'refused' }));
    expect(() => minor({ backup: '3.2.0' })).toThrow(expect.objectContaining({ code: 'refused' }));
    for (const asked of ['3.8', '4.0', 'latest'])
      expect(() => minor({ backup: '3.6.4', asked })).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(() => minor({})).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test('a version that cannot be read leaves the choice to who asks', () => {
    expect(minor({ backup: 'unknown', asked: '3.6' })).toMatchObject({
      minor: '3.6',
      notes: ['nothing tells which release of etcd wrote this'],
    });
  });
});
