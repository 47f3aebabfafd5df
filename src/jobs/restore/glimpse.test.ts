import { expect, test } from 'vitest';
import { boltFile, type BucketContents } from '../../../test/support/bolt-file.ts';
import { encode } from '../../../test/support/wire.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { encodeRevision } from '../../mvcc/revision.ts';
import { glimpse, type Glimpse } from './glimpse.ts';

const { signal } = new AbortController();

function records(keys: readonly string[]): (readonly [Buffer, Buffer])[] {
  return keys.map((key, index) => {
    const main = BigInt(index + 2);
    return [encodeRevision({ main, sub: 0n, tombstone: false }), encode([1, key], [2, main], [3, main], [4, 1n])] as const;
  });
}

async function look(keys: readonly string[], more: BucketContents = {}): Promise<Glimpse & { readonly reads: number }> {
  const { bytes } = boltFile({ meta: [], alarm: [], ...more, key: records(keys) }, { fanout: 4, inlineBytes: 0 });
  let reads = 0;
  const file: RandomAccess = {
    size: bytes.length,
    read: (offset, length) => {
      reads += 1;
      return Promise.resolve(bytes.subarray(offset, offset + length));
    },
  };
  return { ...(await glimpse(file, signal)), reads };
}

const plain = Array.from({ length: 120 }, (_, index) => `/app/${index}`);

test('a few pages tell whether an API server wrote it, wherever its keys lie', async () => {
  expect((await look(plain)).kubernetes).toBe(false);
  expect((await look([])).kubernetes).toBe(false);
  expect((await look(['/registry/pods/default/a', ...plain])).kubernetes).toBe(true);
  expect((await look([...plain, 'compact_rev_key'])).kubernetes).toBe(true);
  expect((await look(plain.map((key, index) => (index > 50 && index < 80 ? `/registry${key}` : key)))).kubernetes).toBe(true);
  expect((await look(['/registrypods', 'compact_rev_key2'])).kubernetes).toBe(false);
});

test('it does not read the file through', async () => {
  const few = (await look(plain)).reads;
  const many = (await look(Array.from({ length: 900 }, (_, index) => `/app/${index}`))).reads;
  expect(many).toBeLessThan(few * 2);
});

test('alarms, users and revision are seen as well', async () => {
  const { head, auth } = await look(plain, { auth: [['authEnabled', Buffer.from([1])]], alarm: [[encode([1, 7n], [2, 2n]), '']] });
  expect(head).toMatchObject({ revision: 121n, alarms: [{ type: 'CORRUPT' }] });
  expect(auth).toBe(true);
  expect((await look(plain, { auth: [['authEnabled', Buffer.from([0])]] })).auth).toBe(false);
});
