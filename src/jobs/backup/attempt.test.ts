import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { MemberClient } from '../../etcd/member.ts';
import type { SnapshotMessage } from '../../etcd/types.ts';
import { encodeRevision } from '../../mvcc/revision.ts';
import type { Store } from '../../store/types.ts';
import { silentLogger } from '../../telemetry/logger.ts';
import { boltFile } from '../../../test/support/bolt-file.ts';
import { memoryStore } from '../../../test/support/memory-store.ts';
import type { ProgressEvent } from '../types.ts';
import type { AttemptOptions } from './attempt.ts';
import { attemptBackup, StreamFailed } from './attempt.ts';

let folder = '';
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'attempt-'))));
afterEach(() => rm(folder, { recursive: true }));

const signal = new AbortController().signal;
/** Key `k`, created at the revision and worth `v`. */
const record = (revision: number): readonly [Buffer, Buffer] => [
  encodeRevision({ main: BigInt(revision), sub: 0n, tombstone: false }),
  Buffer.from([0x0a, 1, 0x6b, 0x10, 7, 0x18, revision, 0x20, revision - 6, 0x2a, 1, 0x76]),
];
const {
  bytes: database,
  pageSize,
  kinds,
} = boltFile({
  key: Array.from({ length: 20 }, (_, i) => record(7 + i)),
  meta: [['finishedCompactRev', encodeRevision({ main: 6n, sub: 0n, tombstone: false })]],
});

/** A member whose snapshot is this database. */
function memberWith(bytes: Buffer): MemberClient {
  return {
    async *snapshot(): AsyncGenerator<readonly SnapshotMessage[]> {
      const trailer = createHash('sha256').update(bytes).digest();
      yield [
        { blob: bytes, remaining: 0, version: undefined },
        { blob: trailer, remaining: 0, version: undefined },
      ];
    },
  } as unknown as MemberClient;
}

function optionsFor(changes: Partial<AttemptOptions>): AttemptOptions {
  return {
    client: memberWith(database),
    member: 'm1',
    key: 'prod/x.db.zst',
    spoolFolder: folder,
    spoolName: 'spool',
    stores: [],
    recipients: [],
    expectedBytes: database.length,
    maxRate: 0,
    onTotal: async () => {},
    judge: () => {},
    onProgress: () => {},
    logger: silentLogger,
    signal,
    ...changes,
  };
}

/** A store that takes its time: it reports `steps` parts after the stream has ended, and is done when the test says so. */
function slowStore(name: string): { readonly store: Store; report: (bytes: number) => void; finish: () => void } {
  const done = Promise.withResolvers<void>();
  const inner = memoryStore(name);
  let onProgress: ((bytes: number) => void) | undefined;
  return {
    store: {
      ...inner,
      async upload(key, source, options) {
        onProgress = options.onProgress;
        onProgress?.(10);
        await done.promise;
        return inner.upload(key, source, options);
      },
    },
    report: (bytes) => onProgress?.(bytes),
    finish: () => done.resolve(),
  };
}

test('an upload that goes on after the stream tells how far it is: a job that is silent for long would be taken for stalled', async () => {
  const events: ProgressEvent[] = [];
  const slow = slowStore('s3');
  const attempt = await attemptBackup(optionsFor({ stores: [slow.store], onProgress: (event) => events.push(event) }));
  expect(events.map(({ step }) => step)).not.toContain('upload');
  const left = attempt.sealed.storedBytes - 10;
  slow.report(30);
  expect(events.at(-1)).toEqual({ step: 'upload', message: 'sending the rest to s3', bytes: 20, totalBytes: left, subject: 's3' });
  slow.report(40); // at once after the one before: nobody needs that many
  expect(events.at(-1)).toMatchObject({ bytes: 20 });
  slow.finish();
  expect(await Promise.all(attempt.uploads)).toMatchObject([{ store: 's3', outcome: 'stored' }]);
  await attempt.dispose();
});

test('the whole file is looked through before anything is accepted, and the head is told before that', async () => {
  const told: string[] = [];
  const attempt = await attemptBackup(
    optionsFor({ judge: () => told.push('judge'), onHead: ({ revision }) => told.push(`head ${revision}`) }),
  );
  expect(told).toEqual(['judge', 'head 26']);
  expect(attempt.examined).toMatchObject({ keyCount: 1, recordCount: 20, head: { revision: 26n } });
  await attempt.dispose();
});

test("damage inside a stream that came whole is the member's failure, and is kept with its reason when there is nobody else", async () => {
  const bytes = Buffer.from(database);
  const [firstLeaf] = [...kinds.keys()];
  bytes[firstLeaf! * pageSize + 16 + 7] = 0xff; // its first record reaches beyond it; the head needs only the last leaf
  const uploads = memoryStore('s3');
  await expect(attemptBackup(optionsFor({ client: memberWith(bytes), stores: [uploads] }))).rejects.toThrow(StreamFailed);
  expect(await Array.fromAsync(uploads.list('', { signal }))).toEqual([]);
  const attempt = await attemptBackup(optionsFor({ client: memberWith(bytes), stores: [uploads], lastResort: true }));
  expect(attempt.examined).toMatchObject({ failure: { code: 'bolt-damaged' } });
  expect(await Promise.all(attempt.uploads)).toMatchObject([{ outcome: 'stored' }]);
  await attempt.dispose();
});
