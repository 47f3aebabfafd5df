/**
 * Bytes from a database as text that a terminal cannot be commanded with. Whatever the bytes are, what comes out has no control character, nothing that
 * reorders text, and no newline unless lines are asked for.
 */
import { isUtf8 } from 'node:buffer';

/* eslint-disable no-control-regex */
/**
 * C0, DEL, C1; characters that reorder or break lines (Trojan Source: bidirectional controls, U+2028, U+2029); soft hyphen, zero-width and other invisible ones that
 * make two keys look alike, byte order mark, interlinear annotation, tags; surrogates and what is not assigned stay out by UTF-8 itself.
 */
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

/** The same, but for the two of which text is made. */
const UNSAFE_IN_LINES =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

const TAB = '    ';
/* eslint-enable no-control-regex */

/** One line of text; what cannot be shown stands as `\x1b` or `\u{202e}`. */
export function safeLine(text: string): string {
  return text.replaceAll(UNSAFE, escaped);
}

/** Lines of text: broken at newlines, tabs as spaces, all else as in {@link safeLine}. */
export function safeLines(text: string): string[] {
  return text.split(/\r?\n/u).map((line) => line.replaceAll(UNSAFE_IN_LINES, escaped).replaceAll('\t', TAB));
}

/**
 * A key as people can read it and tell from every other key: bytes that are not UTF-8 stand as `\xff`, and a backslash of the key itself as `\\`.
 */
export function displayKey(key: Buffer): string {
  if (isUtf8(key)) return safeLine(key.toString().replaceAll('\\', '\\\\'));
  let text = '';
  for (let at = 0; at < key.length;) {
    const length = characterLength(key, at);
    text += length === 0 ? hexEscape(key[at]!) : safeLine(key.toString('utf8', at, at + length).replaceAll('\\', '\\\\'));
    at += Math.max(1, length);
  }
  return text;
}

/** Whether bytes are text: UTF-8 without control characters but tabs, line ends, and the escapes of logs in colour (which are shown as such). */
export function isText(bytes: Buffer): boolean {
  if (!isUtf8(bytes)) return false;
  for (const byte of bytes) if (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d && byte !== 0x1b) return false;
  return true;
}

/** Whether a terminal shows every character of it: text without anything that would have to be escaped. */
export function isHarmless(bytes: Buffer): boolean {
  if (!isUtf8(bytes)) return false;
  const text = bytes.toString();
  return safeLines(text).join('\n') === text.replaceAll('\r\n', '\n').replaceAll('\t', TAB);
}

/** Bytes of the UTF-8 character that begins at `at`; 0 when none does. */
function characterLength(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length += 1) {
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  }
  return 0;
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  return code < 0x100 ? hexEscape(code) : `\\u{${code.toString(16)}}`;
}

function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
