import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { validKey, validPrefix, compareKeys, normalisePrefix } from './keys.ts';

describe('keys of objects', () => {
  test.each(['a', 'prod/20261122T100000123Z-k3f9qa.db.zst', 'a b/ü+%#?&=/🦊', '..a/b..', '.hidden', 'a/.tmp/b'])('%j is a key', (key) => {
    expect(validKey(key)).toBe(key);
  });

  test.each([
    '',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    'a/../b',
    '../../etc/passwd',
    'a/./b',
    'a\0b',
    'a\nb',
    'a\\b',
    '.tmp/x',
    '.tmp',
    '\ud800',
    'x'.repeat(256),
    `${'x/'.repeat(600)}x`,
  ])('%j is refused, because it is another place on one of the stores', (key) => {
    expect(() => validKey(key)).toThrow(expect.objectContaining({ code: 'refused' }));
  });

  test('a prefix of keys may end anywhere, but does not climb either', () => {
    for (const prefix of ['', 'prod', 'prod/', 'prod/2026']) expect(validPrefix(prefix)).toBe(prefix);
    for (const prefix of ['/', '../', 'a//', '.tmp/']) expect(() => validPrefix(prefix)).toThrow(/is no key/);
  });

  test('fault 39: a prefix with spaces and unicode is kept, slashes around it do not count, and `..` is refused', () => {
    expect(normalisePrefix('/etcd backups/größe//x/')).toBe('etcd backups/größe/x');
    expect(normalisePrefix('/')).toBe('');
    expect(() => normalisePrefix('a/../b')).toThrow(expect.objectContaining({ code: 'config-invalid' }));
  });

  test('the order of keys is that of their UTF-8 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 6 }), fc.string({ unit: 'grapheme', maxLength: 6 }), (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 2000 },
    );
    expect(compareKeys('\uffee', '\u{1f98a}')).toBeLessThan(0);
  });
});
