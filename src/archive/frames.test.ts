import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { seeded } from '../../test/support/random.ts';
import { parseBlockHeader, parseFrameHeader, skippableLength } from './frame-header.ts';
import { createFrameCompressor, decodeFrame, FRAME_BOUND, FRAME_LENGTH, type FrameCompressor } from './frames.ts';

const open: FrameCompressor[] = [];
afterEach(() => open.splice(0).forEach((each) => each.close()));

function compressor(lanes: number, level = 1): FrameCompressor {
  const made = createFrameCompressor({ level, lanes });
  open.push(made);
  return made;
}

describe('frames', () => {
  test('each comes back alone, carries its content size, and is its own input whatever the lanes do', async () => {
    const random = seeded(1);
    const plains = Array.from({ length: 24 }, (_, i) => {
      const plain = random.fill(Buffer.alloc(i === 23 ? 7 : 1 + random.below(FRAME_LENGTH)));
      return i % 3 === 0 ? plain : plain.fill(`block ${i} `, 0, plain.length - Math.floor(plain.length / 3)); // some compress, some do not
    });
    const made = compressor(3);
    const frames = await Promise.all(plains.map((plain) => made.compress(plain)));
    for (const [i, frame] of frames.entries()) {
      expect(parseFrameHeader(frame)).toMatchObject({ contentLength: plains[i]!.length, checksum: true });
      expect(frame.length).toBeLessThanOrEqual(FRAME_BOUND);
      expect((await decodeFrame(frame, 'frame')).equals(plains[i]!)).toBe(true);
      expect(zstdDecompressSync(frame).equals(plains[i]!)).toBe(true);
    }
  });

  test('a full block of noise fits the bound', async () => {
    const noise = seeded(2).fill(Buffer.alloc(FRAME_LENGTH));
    const frame = await compressor(1).compress(noise);
    expect(frame.length).toBeGreaterThan(FRAME_LENGTH);
    expect(frame.length).toBeLessThanOrEqual(FRAME_BOUND);
    expect((await decodeFrame(frame, 'frame')).equals(noise)).toBe(true);
  });

  test('a closed compressor refuses instead of hanging', async () => {
    const made = compressor(1);
    made.close();
    await expect(made.compress(Buffer.from('late'))).rejects.toThrow(/destroyed/);
  });

  test('any flipped bit and any cut is an error that names the frame', async () => {
    const plain = Buffer.from('a snapshot, or something like it. '.repeat(40));
    const frame = await compressor(1).compress(plain);
    for (let at = 0; at < frame.length; at += 1) {
      for (const bit of [1, 16, 128]) {
        const bad = Buffer.from(frame);
        bad[at]! ^= bit;
        // The descriptor has unused and reserved bits; a decoder may ignore the first. The content must be right all the same.
        const outcome = await decodeFrame(bad, 'frame 7').catch((error: unknown) => error);
        if (Buffer.isBuffer(outcome)) expect(outcome.equals(plain)).toBe(true);
        else expect(outcome).toMatchObject({ code: 'verification-failed', message: expect.stringContaining('frame 7') as string });
      }
      await expect(decodeFrame(frame.subarray(0, at), 'frame 7')).rejects.toMatchObject({ code: 'verification-failed' });
    }
  });

  test('a frame that declares more than 128 MiB is refused before any memory is taken', async () => {
    const huge = Buffer.from('28b52ffda0000000080100000000', 'hex'); // single segment, content size 0x08000000 = 128 MiB: allowed, but damaged
    await expect(decodeFrame(huge, 'frame 0')).rejects.toThrow(/damaged/);
    huge.writeUInt32LE(0x08000001, 5);
    await expect(decodeFrame(huge, 'frame 0')).rejects.toThrow(/declares more than 128 MiB/);
  });

  test('a foreign frame without a content size is decoded, up to the same limit', async () => {
    const plain = Buffer.alloc(300_000, 'foreign');
    const params = { [constants.ZSTD_c_contentSizeFlag]: 0 };
    const frame = zstdCompressSync(plain, { params });
    expect(parseFrameHeader(frame)?.contentLength).toBeUndefined();
    expect((await decodeFrame(frame, 'frame 0')).equals(plain)).toBe(true);
    const bomb = zstdCompressSync(Buffer.alloc(128 * 2 ** 20 + 1), { params });
    await expect(decodeFrame(bomb, 'frame 0')).rejects.toThrow(/frame 0 declares more than 128 MiB/);
  });
});

describe('frame headers', () => {
  test('sizes of 1, 2, 4 and 8 bytes are read as RFC 8878 has them', () => {
    const header = (descriptor: number, rest: string): Buffer =>
      Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.of(descriptor), Buffer.from(rest, 'hex')]);
    expect(parseFrameHeader(header(0x20, '05'))).toEqual({ headerLength: 6, contentLength: 5, windowLength: 5, checksum: false });
    expect(parseFrameHeader(header(0x44, '480100'))).toEqual({
      headerLength: 8,
      contentLength: 257,
      windowLength: 2 ** 19,
      checksum: true,
    });
    expect(parseFrameHeader(header(0x80, '4900000100'))).toMatchObject({ contentLength: 65_536, windowLength: 2 ** 19 + 2 ** 16 });
    expect(parseFrameHeader(header(0xc3, '00010203040000000001000000'))).toMatchObject({
      headerLength: 18,
      contentLength: 2 ** 32,
      windowLength: 1024,
    });
    expect(parseFrameHeader(header(0x01, '0009'))).toMatchObject({ headerLength: 7, contentLength: undefined });
    expect(parseFrameHeader(header(0xc3, '00'))).toBeUndefined();
    expect(parseFrameHeader(Buffer.from('28b52ffd', 'hex'))).toBeUndefined();
    expect(parseFrameHeader(Buffer.from('28b52ffe00', 'hex'))).toBeUndefined();
  });

  test('blocks and skippable frames tell their length', () => {
    expect(parseBlockHeader(Buffer.from([0x01 | (5 << 3), 0, 0]), 0)).toEqual({ storedLength: 5, last: true });
    expect(parseBlockHeader(Buffer.from([0x02 | (5 << 3), 1, 0]), 0)).toEqual({ storedLength: 1, last: false });
    expect(parseBlockHeader(Buffer.from([0x06, 0, 0]), 0)).toBeUndefined();
    expect(skippableLength(Buffer.from('5f2a4d1809000000', 'hex'))).toBe(9);
    expect(skippableLength(Buffer.from('602a4d1809000000', 'hex'))).toBeUndefined();
    expect(skippableLength(Buffer.alloc(4))).toBeUndefined();
  });

  test('whatever the bytes are, parsing does not throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
        const buffer = Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.from(bytes)]);
        const header = parseFrameHeader(buffer);
        expect(header === undefined || header.headerLength <= buffer.length).toBe(true);
      }),
    );
  });
});
