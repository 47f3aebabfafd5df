import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeSeekTable, FOOTER_LENGTH, frameAt, indexFrames, parseSeekTable, seekTableLength } from './seek-table.ts';

const lengths = fc.array(
  fc.record({ storedLength: fc.integer({ min: 1, max: 2 ** 20 }), plainLength: fc.integer({ min: 1, max: 2 ** 20 }) }),
  { maxLength: 200 },
);

describe('seek table', () => {
  test('what was written is read back', () => {
    fc.assert(
      fc.property(lengths, (frames) => {
        const table = encodeSeekTable(frames);
        const stored = frames.reduce((sum, frame) => sum + frame.storedLength, 0);
        expect(seekTableLength(table.subarray(-FOOTER_LENGTH))).toBe(table.length);
        expect(parseSeekTable(table, stored)).toEqual(frames);
      }),
    );
  });

  test('every plain offset falls into the frame that holds it', () => {
    const index = indexFrames([
      { storedLength: 10, plainLength: 100 },
      { storedLength: 9, plainLength: 0 },
      { storedLength: 20, plainLength: 1 },
    ]);
    expect(frameAt(index, 0)).toEqual({ index: 0, storedOffset: 0, plainOffset: 0 });
    expect(frameAt(index, 99)).toEqual({ index: 0, storedOffset: 0, plainOffset: 0 });
    expect(frameAt(index, 100)).toEqual({ index: 2, storedOffset: 19, plainOffset: 100 });
    expect(frameAt(index, 101)).toBeUndefined();
    expect(frameAt(index, -1)).toBeUndefined();
    expect(frameAt(indexFrames([]), 0)).toBeUndefined();
  });

  test('a table that does not add up to the file is refused, with a hint', () => {
    const table = encodeSeekTable([{ storedLength: 10, plainLength: 100 }]);
    expect(() => parseSeekTable(table, 11)).toThrow(/adds up to 10 bytes, the file holds 11/);
  });

  test('a table that was cut, or has another magic, is refused', () => {
    const table = encodeSeekTable([{ storedLength: 10, plainLength: 100 }]);
    expect(() => parseSeekTable(table.subarray(1), 10)).toThrow(/damaged/);
    const wrong = Buffer.from(table);
    wrong.writeUInt32LE(0x184d2a50, 0);
    expect(() => parseSeekTable(wrong, 10)).toThrow(/damaged/);
    expect(() => seekTableLength(Buffer.alloc(FOOTER_LENGTH))).toThrow(/does not end in a zstd seek table/);
  });

  test('per-frame checksums, which others may write, are stepped over', () => {
    const body = Buffer.alloc(8 + 12 + FOOTER_LENGTH);
    body.writeUInt32LE(0x184d2a5e, 0);
    body.writeUInt32LE(12 + FOOTER_LENGTH, 4);
    body.writeUInt32LE(7, 8);
    body.writeUInt32LE(70, 12);
    body.writeUInt32LE(0xdeadbeef, 16);
    body.writeUInt32LE(1, 20);
    body.writeUInt8(0x80, 24);
    body.writeUInt32LE(0x8f92eab1, 25);
    expect(parseSeekTable(body, 7)).toEqual([{ storedLength: 7, plainLength: 70 }]);
  });

  test('whatever the bytes are, the only error is the one that is documented', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 17, maxLength: 64 }), fc.nat(), (bytes, storedLength) => {
        const table = Buffer.from(bytes);
        table.writeUInt32LE(0x8f92eab1, table.length - 4); // past the first gate
        try {
          parseSeekTable(table, storedLength);
        } catch (error) {
          expect(error).toMatchObject({ code: 'not-seekable' });
        }
      }),
    );
  });
});
