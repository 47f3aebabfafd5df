import { expect, test } from 'vitest';
import { boltFile, type Entries, inMemory } from '../../test/support/bolt-file.ts';
import { memoryScratch, randomHistory } from '../../test/support/history.ts';
import { seeded } from '../../test/support/random.ts';
import { encode } from '../../test/support/wire.ts';
import { openBolt } from '../boltdb/bolt.ts';
import { WardenError } from '../errors.ts';
import { authOf } from './auth.ts';
import { checkContinuity } from './continuity.ts';
import { hashKv } from './hash-kv.ts';
import { readHead } from './head.ts';
import { leasesOf } from './leases.ts';
import { membersOf } from './members.ts';
import { recordsOf } from './records.ts';
import { encodeRevision } from './revision.ts';
import { requireKnownSchema } from './schema.ts';
import { countKeys, keyAt } from './state.ts';

const random = seeded(80);
const id = Buffer.from([0, 0, 0, 0, 0, 0, 0, 5]);

function file(): Buffer {
  const compaction = (['none', 'finished', 'unfinished'] as const)[random.below(3)]!;
  const history = randomHistory({ random, steps: 20, keys: 5, compaction });
  const mark = (main: bigint): Buffer => encodeRevision({ main, sub: 0n, tombstone: false });
  const meta: Entries = [
    ['finishedCompactRev', mark(history.compactionFinished)],
    ['scheduledCompactRev', mark(history.compactRevision)],
    ['storageVersion', '3.6.0'],
  ];
  return boltFile({
    key: history.records.map(({ key, value }) => [key, value] as const),
    meta,
    lease: [[id, encode([1, 5], [2, 60])]],
    members: [['5', '{"id":5,"peerURLs":["http://b:2380"],"name":"m1"}']],
    auth: [['authRevision', id]],
    authUsers: [['root', encode([1, 'root'], [2, 'hash'], [3, 'root'])]],
    authRoles: [['root', encode([1, 'root'], [2, encode([1, 2], [2, 'a'])])]],
  }).bytes;
}

/** Everything that is ever read of a database. */
async function readAll(bytes: Buffer): Promise<void> {
  const db = await openBolt(inMemory(bytes));
  const head = await readHead(db);
  const source = await recordsOf(db);
  const spill = { scratch: memoryScratch(), limitBytes: 0 };
  const { revision, compactRevision, compactionFinished } = head;
  await hashKv(source, { revision, compactRevision, compactionFinished, ...(random.below(2) === 0 ? spill : {}) });
  await countKeys(source, head, revision);
  await keyAt(source, head, Buffer.from('key-x'), revision);
  for (const read of [
    () => checkContinuity(source, compactRevision),
    () => Array.fromAsync(leasesOf(db)),
    () => membersOf(db),
    () => authOf(db),
    async () => requireKnownSchema(head, 'its proof'),
  ])
    await read();
}

test('fault 9: whatever is flipped, cut or spliced in a file, the readers end, and with an error of ours or none', async () => {
  for (let round = 0; round < 60; round += 1) {
    const bytes = file();
    if (round % 5 === 0) {
      const [from, to, length] = [random.below(bytes.length), random.below(bytes.length), random.below(600)];
      bytes.copyWithin(to, from, from + length);
    }
    for (let flips = round % 4; flips >= 0; flips -= 1) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    const cut = round % 7 === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
    try {
      await readAll(cut);
    } catch (error) {
      expect(error, String((error as Error).stack)).toBeInstanceOf(WardenError);
    }
  }
});
