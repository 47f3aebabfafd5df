import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { displayKey, isText, safeLine, safeLines } from './text.ts';

/** What no terminal may get: controls, and what reorders or hides text. */
// eslint-disable-next-line no-control-regex
const DANGEROUS = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;

/** Half of them from where the dangerous ones are. */
const codePoint = fc.oneof(
  fc.integer({ min: 0, max: 0x10ffff }),
  fc.integer({ min: 0, max: 0xff }),
  fc.integer({ min: 0x2000, max: 0x2070 }),
);

describe('text for a terminal', () => {
  test('control characters, bidirectional controls and invisible ones stand as escapes', () => {
    expect(safeLine('a\u001b[2Jb\u009bc\u202ed\u200be\u{e0041}\n')).toBe('a\\x1b[2Jb\\x9bc\\u{202e}d\\u{200b}e\\u{e0041}\\x0a');
  });

  test('what is readable stays as it is', () => {
    const text = 'Zürich 日本 🎉 é ~ \\x41';
    expect(safeLine(text)).toBe(text);
  });

  test('lines are broken at newlines of either kind, and tabs become spaces', () => {
    expect(safeLines('a\r\n\tb\rc\n')).toEqual(['a', '    b\\x0dc', '']);
  });

  test('whatever the text, no control character is left', () => {
    fc.assert(
      fc.property(
        fc.array(codePoint).map((points) => String.fromCodePoint(...points)),
        (text) => {
          for (const line of [safeLine(text), ...safeLines(text)]) expect(line).not.toMatch(DANGEROUS);
        },
      ),
      { seed: 1 },
    );
  });
});

describe('keys', () => {
  test('bytes that are not UTF-8 stand as escapes between those that are', () => {
    expect(displayKey(Buffer.from([0x2f, 0xff, 0xc3, 0xa9, 0xc3, 0x00, 0x61]))).toBe('/\\xffé\\xc3\\x00a');
  });

  test('a backslash of the key is doubled, so that it is not taken for an escape', () => {
    expect(displayKey(Buffer.from('a\\xff'))).toBe('a\\\\xff');
    expect(displayKey(Buffer.from([0x5c, 0xff]))).toBe('\\\\\\xff');
  });

  test('two keys never look the same, and none commands a terminal', () => {
    const bytes = fc.uint8Array({ maxLength: 12 }).map((array) => Buffer.from(array));
    fc.assert(
      fc.property(bytes, bytes, (one, other) => {
        expect(displayKey(one)).not.toMatch(DANGEROUS);
        expect(displayKey(one) === displayKey(other)).toBe(one.equals(other));
      }),
      { seed: 2 },
    );
  });
});

describe('what counts as text', () => {
  test.each([
    ['words', 'a b\tc\r\n', true],
    ['a log in colour', '\u001b[31mred', true],
    ['nothing', '', true],
    ['a NUL', 'a\0b', false],
    ['another control character', 'a\u0007', false],
  ])('%s: %s', (_, text, expected) => expect(isText(Buffer.from(text))).toBe(expected));

  test('bytes that are no UTF-8 do not', () => expect(isText(Buffer.from([0x61, 0xff]))).toBe(false));
});
