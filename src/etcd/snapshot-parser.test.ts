import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encode, type Field } from '../../test/support/wire.ts';
import { createSnapshotParser } from './snapshot-parser.ts';

/** As gRPC frames it. */
function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function collect(chunks: readonly Buffer[]) {
  const blobs: Buffer[] = [];
  const after: number[] = [];
  let version: string | undefined;
  const parser = createSnapshotParser((piece) => {
    blobs.push(Buffer.from(piece.blob));
    after.push(piece.blob.length + piece.remaining);
    version = piece.version ?? version;
  });
  for (const chunk of chunks) parser.write(chunk);
  return { bytes: Buffer.concat(blobs), pieces: blobs.length, after, version, atBoundary: parser.atBoundary };
}

/** Cuts the bytes at the given places. */
function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...cuts].map((from, index) => bytes.subarray(from, cuts[index] ?? bytes.length));
}

describe('the snapshot parser', () => {
  test('the pieces are the database, however the stream is cut, and each tells how much remains', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.array(fc.nat(5_000)), fc.constantFrom('', '3.6.0'), (lengths, places, version) => {
        const blobs = lengths.map((length, index) => Buffer.alloc(length, index + 1));
        const total = lengths.reduce((sum, length) => sum + length, 0);
        let left = total;
        const stream = Buffer.concat(
          blobs.map((blob) => {
            left -= blob.length;
            return framed(encode([2, left], [3, blob], [4, version]));
          }),
        );
        const seen = collect(cutAt(stream, places));
        expect(seen.bytes).toEqual(Buffer.concat(blobs));
        expect(seen.atBoundary).toBe(true);
        // Each piece and what remains after it add up to what remained before it.
        let before = total;
        for (const [index, sum] of seen.after.entries()) {
          expect(sum).toBe(before);
          before -= sum - (seen.after[index + 1] ?? 0);
        }
      }),
    );
  });

  test('fields that are not known are passed over, and the version is told with what follows it', () => {
    const unknown: Field[] = [
      [1, encode([1, 7n], [2, 8n])],
      [9, 300],
    ];
    const stream = Buffer.concat([
      framed(encode(...unknown, [2, 4], [3, Buffer.from('abcd')], [4, '3.6.0'])),
      framed(encode([3, Buffer.from('ef')])),
    ]);
    expect(collect([stream])).toMatchObject({ bytes: Buffer.from('abcdef'), version: '3.6.0', atBoundary: true });
  });

  test('a database of terabytes is announced exactly', () => {
    const remaining = 5 * 1024 ** 4 + 12_345;
    expect(collect([framed(encode([2, remaining], [3, Buffer.from('x')]))]).after).toEqual([remaining + 1]);
  });

  test('empty messages are no pieces', () => {
    expect(collect([framed(Buffer.alloc(0)), framed(encode([2, 7]))])).toMatchObject({ pieces: 0, atBoundary: true });
  });

  test('a stream that ends inside a message does not end at a boundary', () => {
    const stream = framed(encode([2, 7], [3, Buffer.from('abcdefg')]));
    for (let length = 1; length < stream.length; length++) expect(collect([stream.subarray(0, length)]).atBoundary).toBe(false);
  });

  test.each([
    ['a compressed message', Buffer.from([1, 0, 0, 0, 1, 0]), /flag 1/],
    ['a group', framed(Buffer.from([0x0b])), /wire type 3/],
    ['a blob longer than its message', framed(Buffer.from([0x1a, 0x7f, 0x00])), /inside a field/],
    ['a number without end', framed(Buffer.alloc(20, 0xff)), /number without end/],
  ])('%s is an error', (_, stream, sentence) => {
    expect(() => collect([stream])).toThrow(sentence);
  });

  test('whatever the bytes are, the parser throws an Error or reads them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const stream = Buffer.from(bytes);
        if (stream.length > 0) stream[0] = 0; // past the first gate
        try {
          collect([stream]);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          expect((error as Error).message).toContain('snapshot stream');
        }
      }),
    );
  });
});
