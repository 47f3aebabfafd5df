/**
 * JSON for standard output. `JSON.stringify` escapes what is below U+0020 and leaves DEL, the C1 controls and the characters that reorder text, all of which a
 * terminal acts on: they stand inside of strings only, where an escape means the same.
 * @param indent spaces a level, 2 for a document, 0 for a line of one
 */
export function jsonText(value: unknown, indent = 2): string {
  return JSON.stringify(value, null, indent).replaceAll(
    UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
