import { describe, expect, test } from 'vitest';
import { boltFile, type Entries, inMemory } from '../../test/support/bolt-file.ts';
import { openBolt } from '../boltdb/bolt.ts';
import { parseAlarm } from './alarm.ts';
import { type Head, readHead } from './head.ts';
import { encodeRevision, parseRevision } from './revision.ts';

function revision(main: number, sub = 0, tombstone = false): Buffer {
  return encodeRevision({ main: BigInt(main), sub: BigInt(sub), tombstone });
}

function integer(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

async function headOf(buckets: Record<string, Entries>): Promise<Head> {
  return readHead(await openBolt(inMemory(boltFile(buckets).bytes)));
}

const records: Entries = Array.from({ length: 40 }, (_, i) => [revision(i + 2), 'record'] as const);

describe('head', () => {
  test('an empty store is at revision 1 and was never compacted', async () => {
    expect(await headOf({ key: [], meta: [['consistent_index', integer(4n)]] })).toEqual({
      revision: 1n,
      compactRevision: 0n,
      compactionFinished: 0n,
      consistentIndex: 4n,
      term: undefined,
      storageVersion: undefined,
      etcdSchema: '3.4',
      alarms: [],
    });
  });

  test('the revision is that of the last record, a tombstone too', async () => {
    expect((await headOf({ key: records, meta: [] })).revision).toBe(41n);
    expect((await headOf({ key: [...records, [revision(99, 3, true), '']], meta: [] })).revision).toBe(99n);
  });

  test('a compaction that is scheduled counts, and raises the revision when records do not reach it', async () => {
    const meta: Entries = [
      ['finishedCompactRev', revision(20)],
      ['scheduledCompactRev', revision(30)],
    ];
    expect(await headOf({ key: records, meta })).toMatchObject({ revision: 41n, compactRevision: 30n });
    expect(await headOf({ key: [], meta })).toMatchObject({ revision: 30n, compactRevision: 30n });
    // A restore that raised the revision marks everything before it compacted.
    expect(await headOf({ key: records, meta: [['finishedCompactRev', revision(1_000_000_041)]] })).toMatchObject({
      revision: 1_000_000_041n,
    });
  });

  test('a finished compaction with no record anywhere near it is not taken for one that removed what it passed', async () => {
    const finished = async (main: number): Promise<bigint> =>
      (await headOf({ key: records, meta: [['finishedCompactRev', revision(main)]] })).compactionFinished;
    expect(await finished(20)).toBe(20n);
    expect(await finished(41 + 65_535)).toBe(65_576n);
    expect(await finished(41 + 65_536)).toBe(0n);
    // Writes went on above it.
    const later: Entries = [...records, [revision(1_000_000_050), '']];
    expect(await headOf({ key: later, meta: [['finishedCompactRev', revision(1_000_000_041)]] })).toMatchObject({
      compactRevision: 1_000_000_041n,
      compactionFinished: 0n,
    });
  });

  test('the schema is told by what the file holds', async () => {
    expect((await headOf({ key: [], meta: [['term', integer(7n)]] })).etcdSchema).toBe('3.5');
    expect((await headOf({ key: [], meta: [['confState', '{}']] })).etcdSchema).toBe('3.5');
    expect(
      await headOf({
        key: [],
        meta: [
          ['term', integer(7n)],
          ['storageVersion', '3.6.0'],
        ],
      }),
    ).toMatchObject({ etcdSchema: '3.6+', storageVersion: '3.6.0', term: 7n });
  });

  test('alarms are read with ids beyond 2^53', async () => {
    const nospace = Buffer.from('08ffffffffffffffffff011001', 'hex');
    const corrupt = Buffer.from('08051002', 'hex');
    expect(
      (
        await headOf({
          key: [],
          meta: [],
          alarm: [
            [nospace, ''],
            [corrupt, ''],
          ],
        })
      ).alarms,
    ).toEqual([
      { memberId: 5n, type: 'CORRUPT' },
      { memberId: 2n ** 64n - 1n, type: 'NOSPACE' },
    ]);
  });

  test('what etcd could not have written is refused by name', async () => {
    await expect(headOf({ key: [] })).rejects.toMatchObject({
      code: 'not-etcd',
      message: expect.stringContaining('no bucket meta') as string,
    });
    await expect(headOf({ meta: [] })).rejects.toThrow(/no bucket key/);
    await expect(headOf({ key: [['hello', 'x']], meta: [] })).rejects.toThrow(/the last record, of 5 bytes, is not a revision$/);
    await expect(headOf({ key: [], meta: [['scheduledCompactRev', 'x']] })).rejects.toThrow(
      /scheduledCompactRev, of 1 bytes, is not a revision$/,
    );
    await expect(headOf({ key: [], meta: [['term', 'x']] })).rejects.toThrow(/term has 1 bytes/);
    await expect(headOf({ key: [], meta: [], alarm: [['x', '']] })).rejects.toThrow(/bucket alarm/);
  });
});

describe('revisions', () => {
  test('what is written is read back, in the order of changes', () => {
    const all = [revision(2), revision(2, 1), revision(2, 1, true), revision(256), revision(2 ** 40)];
    expect([...all].sort(Buffer.compare)).toEqual(all);
    expect(parseRevision(revision(7, 3, true))).toEqual({ main: 7n, sub: 3n, tombstone: true });
    expect(parseRevision(revision(2 ** 52))).toEqual({ main: 2n ** 52n, sub: 0n, tombstone: false });
  });

  test('anything else is none', () => {
    const wrongMark = Buffer.concat([revision(7), Buffer.from('x')]);
    const noSeparator = revision(7).fill(0, 8, 9);
    const negative = Buffer.from(revision(7)).fill(0xff, 0, 1);
    for (const bad of [Buffer.alloc(0), Buffer.alloc(16), Buffer.alloc(19), wrongMark, noSeparator, negative])
      expect(parseRevision(bad)).toBeUndefined();
  });
});

describe('alarms', () => {
  test('absent fields are zero, unknown types are kept as such, rubbish is none', () => {
    expect(parseAlarm(Buffer.alloc(0))).toEqual({ memberId: 0n, type: 'unknown' });
    expect(parseAlarm(Buffer.from('1009', 'hex'))).toEqual({ memberId: 0n, type: 'unknown' });
    for (const bad of ['08', '0880', '1801', '08ffffffffffffffffffff01', '08ffffffffffffffffff7f'])
      expect(parseAlarm(Buffer.from(bad, 'hex')), bad).toBeUndefined();
  });
});
