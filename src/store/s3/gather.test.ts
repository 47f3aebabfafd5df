import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { gather } from './gather.ts';

const MIB = 1 << 20;

/** Bytes that tell where they belong. */
function bytes(length: number): Buffer {
  const whole = Buffer.allocUnsafeSlow(length);
  for (let at = 0; at < length; at++) whole[at] = (at ^ (at >>> 8)) & 0xff;
  return whole;
}

/** A body of these pieces, which gives its reader each as it was written. */
function bodyOf(whole: Buffer, piece: number, whenOver: (body: PassThrough) => void = (body) => body.end()): PassThrough {
  const body = new PassThrough({ highWaterMark: 64 * MIB });
  for (let at = 0; at < whole.length; at += piece) body.write(Buffer.from(Uint8Array.prototype.slice.call(whole, at, at + piece)));
  whenOver(body);
  return body;
}

async function blocksOf(body: PassThrough, expected: number): Promise<Buffer[]> {
  const gathered = gather(body, expected);
  const blocks: Buffer[] = [];
  // oxlint-disable-next-line no-await-in-loop -- in order
  for (let block = await gathered.next(); block !== undefined; block = await gathered.next()) blocks.push(block);
  expect(gathered.received).toBe(blocks.reduce((sum, { length }) => sum + length, 0));
  return blocks;
}

describe('a body in small pieces', () => {
  test.each([1000, 4096, 16_384, 65_536, 200_000])('of %i bytes becomes blocks of 1 MiB, and a last one', async (piece) => {
    const whole = bytes(2 * MIB + 12_345);
    const blocks = await blocksOf(bodyOf(whole, piece), whole.length);
    expect(blocks.map(({ length }) => length)).toEqual([MIB, MIB, 12_345]);
    expect(Buffer.concat(blocks).equals(whole)).toBe(true);
  });

  test('makes blocks that share their memory with nobody, of no more than is to come', async () => {
    const [small] = await blocksOf(bodyOf(bytes(1700), 900), 1700);
    expect(small!.buffer.byteLength).toBe(1700);
    const blocks = await blocksOf(bodyOf(bytes(MIB + 5), 4096), MIB + 5);
    expect(blocks.map(({ buffer }) => buffer.byteLength)).toEqual([MIB, 5]);
  });

  test('may bring more than was promised, and less', async () => {
    const whole = bytes(30_000);
    expect(Buffer.concat(await blocksOf(bodyOf(whole, 7000), 10)).equals(whole)).toBe(true);
    expect(Buffer.concat(await blocksOf(bodyOf(whole, 7000), 90_000)).equals(whole)).toBe(true);
    expect(await blocksOf(bodyOf(Buffer.alloc(0), 1), 0)).toEqual([]);
  });
});

test('large pieces go on as they are, after what was collected before', async () => {
  const whole = bytes(5000 + 300_000 + 6000);
  const body = new PassThrough({ highWaterMark: MIB });
  const large = whole.subarray(5000, 305_000);
  for (const piece of [Buffer.from(whole.subarray(0, 5000)), large, Buffer.from(whole.subarray(305_000))]) body.write(piece);
  body.end();
  const blocks = await blocksOf(body, whole.length);
  expect(blocks.map(({ length }) => length)).toEqual([5000, 300_000, 6000]);
  expect(Buffer.concat(blocks).equals(whole)).toBe(true);
});

test('memory that a piece shares with others is left alone', async () => {
  const whole = bytes(10_000);
  const shared = Buffer.from(whole);
  const body = new PassThrough({ highWaterMark: MIB });
  body.write(shared.subarray(0, 4000));
  body.end(shared.subarray(4000));
  await blocksOf(body, whole.length);
  expect(shared.equals(whole)).toBe(true);
});

test('a body that nobody reads stops after the second block, and goes on when they are taken', async () => {
  const whole = bytes(8 * MIB);
  const body = bodyOf(whole, 65_536);
  const gathered = gather(body, whole.length);
  await new Promise((resolve) => body.once('pause', resolve));
  const held = gathered.received;
  await new Promise((resolve) => setImmediate(resolve));
  expect(gathered.received).toBe(held);
  expect(held).toBeLessThanOrEqual(3 * MIB);
  let taken = 0;
  // oxlint-disable-next-line no-await-in-loop -- in order
  for (let block = await gathered.next(); block !== undefined; block = await gathered.next()) taken += block.length;
  expect(taken).toBe(whole.length);
});

test('what it fails with is told after all that came before, and again', async () => {
  const whole = bytes(MIB + 3);
  const body = bodyOf(whole, 16_384, () => undefined);
  const gathered = gather(body, 4 * MIB);
  expect((await gathered.next())?.length).toBe(MIB);
  const rest = gathered.next();
  body.destroy(new Error('torn'));
  expect((await rest)?.length).toBe(3);
  await expect(gathered.next()).rejects.toThrow('torn');
  await expect(gathered.next()).rejects.toThrow('torn');
});

test('a body that breaks when nobody reads it any more harms nobody', async () => {
  const body = bodyOf(bytes(MIB), 16_384, () => undefined);
  await gather(body, 4 * MIB).next();
  const closed = new Promise((resolve) => body.once('close', resolve));
  body.destroy(new Error('torn'));
  await closed;
});
