import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { encodeKeyValue, type KeyValue, keyOf, parseKeyValue } from './key-value.ts';

const plain: KeyValue = {
  key: Buffer.from('a'),
  createRevision: 2n,
  modRevision: 3n,
  version: 2n,
  value: Buffer.from('b'),
  lease: 0n,
  unknown: [],
};
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

describe('a KeyValue', () => {
  test('has the bytes that etcd writes: ascending fields without zeros', () => {
    expect(encodeKeyValue(plain).toString('hex')).toBe('0a01611002180320022a0162');
    expect(encodeKeyValue({ ...plain, value: Buffer.alloc(0), lease: 1n }).toString('hex')).toBe('0a01611002180320023001');
    expect(parseKeyValue(hex('0a01611002180320022a0162'))).toEqual(plain);
  });

  test('a tombstone has the key alone, and the mark of a raised revision nothing', () => {
    const none = { createRevision: 0n, modRevision: 0n, version: 0n, value: Buffer.alloc(0), lease: 0n, unknown: [] };
    expect(parseKeyValue(hex('0a0161'))).toEqual({ ...none, key: Buffer.from('a') });
    expect(parseKeyValue(Buffer.alloc(0))).toEqual({ ...none, key: Buffer.alloc(0) });
    expect(keyOf(Buffer.alloc(0))).toHaveLength(0);
  });

  test('numbers are exact to 64 bits, and may be negative', () => {
    for (const lease of [2n ** 63n - 1n, -1n, -(2n ** 63n), 7587869134069612298n, 2n ** 53n + 1n, 2n ** 49n, 2n ** 49n - 1n])
      expect(parseKeyValue(encodeKeyValue({ ...plain, lease })).lease).toBe(lease);
  });

  test('fields of a later etcd are kept aside in their order', () => {
    const later = ['3801', '4203616263', '490102030405060708', '5501020304'].map(hex);
    const bytes = Buffer.concat([later[0]!, encodeKeyValue(plain), ...later.slice(1)]);
    expect(parseKeyValue(bytes)).toEqual({ ...plain, unknown: later });
    expect(encodeKeyValue({ ...plain, unknown: later })).toEqual(Buffer.concat([encodeKeyValue(plain), ...later]));
    expect(keyOf(bytes)).toEqual(plain.key);
  });

  test.each([
    ['a tag without a value', '10', 'ends inside a varint'],
    ['a number that goes on', '1080', 'ends inside a varint'],
    ['more than 64 bits', '10ffffffffffffffffff02', 'more than 64 bits'],
    ['ten bytes that go on', '10ffffffffffffffffffff', 'more than 64 bits'],
    ['more bytes than needed', '108000', 'more bytes than it needs'],
    ['far more bytes than needed', '1080808080808080808000', 'more bytes than it needs'],
    ['a key that is longer than the record', '0a0261', 'longer than the rest'],
    ['a key without a length', '0a', 'ends inside a varint'],
    ['a length that is negative', '0affffffffffffffffff01', 'longer than the rest'],
    ['a long key that is cut', '0a8101' + '61'.repeat(128), 'longer than the rest'],
    ['an unknown field that is cut', '3d010203', 'longer than the rest'],
    ['a number where the key belongs', '0801', 'field 1 has wire type 0 instead of 2'],
    ['bytes where the version belongs', '220161', 'field 4 has wire type 2 instead of 0'],
    ['field 0', '0001', 'impossible number'],
    ['a field beyond all numbers', '808080801001', 'impossible number'],
    ['a group', '3b', 'wire type 3'],
    ['a key twice', '0a01610a0162', 'field 1 stands in it twice'],
    ['a version twice', '0a016120012001', 'field 4 stands in it twice'],
  ])('is refused with %s', (_, bytes, why) => {
    expect(() => parseKeyValue(hex(bytes))).toThrow(
      expect.objectContaining({ code: 'not-etcd', message: expect.stringContaining(why) as string }),
    );
  });

  test('its key is found without the rest, long ones too', () => {
    for (const length of [0, 1, 127, 128, 300, 70_000]) {
      const key = Buffer.alloc(length, 'k');
      expect(keyOf(encodeKeyValue({ ...plain, key }))).toEqual(key);
    }
    for (const bad of ['0a', '0a0261', '0a8101' + '61'.repeat(128), '0a80']) expect(() => keyOf(hex(bad))).toThrow(WardenError);
  });

  test('property: what is encoded is read back, and its key by both', () => {
    const number = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
    fc.assert(
      fc.property(bytes, number, number, number, bytes, number, (key, createRevision, modRevision, version, value, lease) => {
        const record = { key, createRevision, modRevision, version, value, lease, unknown: [] };
        const encoded = encodeKeyValue(record);
        expect(parseKeyValue(encoded)).toEqual(record);
        expect(keyOf(encoded)).toEqual(key);
      }),
      { seed: 4, numRuns: 200 },
    );
  });

  test('property: whatever the bytes are, only an error of ours is thrown', () => {
    const sound = encodeKeyValue({ ...plain, lease: 2n ** 62n, value: Buffer.alloc(200, 1) });
    const damaged = fc.tuple(fc.nat(sound.length - 1), fc.nat(255), fc.nat(sound.length)).map(([at, byte, end]) => {
      const bytes = Buffer.from(sound);
      bytes[at] = byte;
      return bytes.subarray(0, end);
    });
    const rubbish = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
    fc.assert(
      fc.property(fc.oneof(rubbish, damaged), (bytes) => {
        for (const read of [parseKeyValue, keyOf]) {
          try {
            read(bytes);
          } catch (error) {
            expect(error).toMatchObject({ code: 'not-etcd' });
          }
        }
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});
