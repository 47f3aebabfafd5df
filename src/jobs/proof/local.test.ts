import { expect, test } from 'vitest';
import { boltFile } from '../../../test/support/bolt-file.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import type { Examined } from '../../mvcc/examination/types.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import { hashKv } from '../../mvcc/hash-kv.ts';
import { recordsOf } from '../../mvcc/records.ts';
import { encodeRevision } from '../../mvcc/revision.ts';
import type { Scratch } from '../../mvcc/scratch.ts';
import { examinedHash } from './local.ts';

const signal = new AbortController().signal;
const noScratch: Scratch = { create: () => Promise.reject(new Error('nothing here is so large')) };

/** Key `k`, created at revision 2. */
const record = (revision: number): readonly [Buffer, Buffer] => [
  encodeRevision({ main: BigInt(revision), sub: 0n, tombstone: false }),
  Buffer.from([0x0a, 1, 0x6b, 0x10, 2, 0x18, revision, 0x20, revision - 1, 0x2a, 1, 0x76]),
];

function fileWith(...revisions: readonly number[]): RandomAccess {
  const { bytes } = boltFile({ key: revisions.map(record), meta: [] });
  return { size: bytes.length, read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)) };
}

test('a hash is computed once for each compact revision; again by a walk over the records, whatever the examination says', async () => {
  let computed = 0;
  const examined = { hashKv: async () => ++computed } as unknown as Examined;
  const file = fileWith(2, 3, 4);
  const local = examinedHash(examined, file, noScratch);
  expect([await local.hash(2n, signal), await local.hash(2n, signal), await local.hash(3n, signal)]).toEqual([1, 1, 2]);
  const walked = await local.again(2n, signal);
  expect(walked).toBe(await hashKv(await recordsOf(await openBolt(file, signal)), { revision: 4n, compactRevision: 2n, signal }));
  expect(walked).not.toBe(await local.again(-1n, signal));
});
