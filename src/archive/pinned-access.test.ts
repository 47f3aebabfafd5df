import { describe, expect, test } from 'vitest';
import { inMemory } from '../../test/support/bolt-file.ts';
import { seeded } from '../../test/support/random.ts';
import { createPin, PIECE_LENGTH } from './pinned-access.ts';

/** As a store delivers it: chunks of any length. */
function pinned(bytes: Buffer, chunk = 10_007): ReturnType<typeof createPin> {
  const pin = createPin();
  for (let at = 0; at < bytes.length; at += chunk) pin.add(bytes.subarray(at, at + chunk));
  return pin;
}

describe('an object read again after a pass', () => {
  const random = seeded(17);
  const bytes = random.fill(Buffer.alloc(5 * PIECE_LENGTH + 123));

  test.each([
    [0, 0],
    [0, 1],
    [0, bytes.length],
    [PIECE_LENGTH - 1, 2],
    [PIECE_LENGTH, PIECE_LENGTH],
    [5 * PIECE_LENGTH, 123],
    [bytes.length - 1, 1],
  ])('%i + %i gives the same bytes', async (offset, length) => {
    const access = pinned(bytes).access(inMemory(bytes), 'x');
    expect((await access.read(offset, length)).equals(bytes.subarray(offset, offset + length))).toBe(true);
  });

  test('a read past the end is refused', async () => {
    const access = pinned(bytes).access(inMemory(bytes), 'x');
    await expect(access.read(bytes.length - 1, 2)).rejects.toMatchObject({ code: 'verification-failed' });
  });

  test('another length is noticed at once', () => {
    expect(() => pinned(bytes).access(inMemory(bytes.subarray(1)), 'prod/x')).toThrow(
      expect.objectContaining({
        code: 'changed-meanwhile',
        message: expect.stringMatching(/^prod\/x was changed .* it had 327803 bytes and has 327802$/),
      }),
    );
  });

  test('a byte that changed is noticed by reads near it, and only by those', async () => {
    const later = Buffer.from(bytes);
    later[2 * PIECE_LENGTH + 5]! ^= 1;
    const access = pinned(bytes, 1 << 20).access(inMemory(later), 'prod/x');
    await expect(access.read(2 * PIECE_LENGTH + 9000, 10)).rejects.toMatchObject({
      code: 'changed-meanwhile',
      message: expect.stringContaining(`the bytes from ${2 * PIECE_LENGTH} on`),
    });
    expect((await access.read(0, 100)).equals(bytes.subarray(0, 100))).toBe(true);
  });

  test('the sums of a long object are all kept', async () => {
    const long = Buffer.alloc(300 * PIECE_LENGTH, 7);
    long.writeUInt8(9, 299 * PIECE_LENGTH);
    const access = pinned(long, 1 << 20).access(inMemory(long), 'x');
    expect((await access.read(299 * PIECE_LENGTH, 1))[0]).toBe(9);
  });

  test('an empty object is one too', async () => {
    expect(
      (
        await pinned(Buffer.alloc(0))
          .access(inMemory(Buffer.alloc(0)), 'x')
          .read(0, 0)
      ).length,
    ).toBe(0);
  });
});
