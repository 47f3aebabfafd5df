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
import { attemptBackup } from './attempt.ts';

let folder = '';
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'attempt-'))));
afterEach(() => rm(folder, { recursive: true }));

const signal = new AbortController().signal;
const database = boltFile({ key: [[encodeRevision({ main: 7n, sub: 0n, tombstone: false }), 'record']], meta: [] }).bytes;

/** A member whose snapshot is this database. */
const client = {
  async *snapshot(): AsyncGenerator<readonly SnapshotMessage[]> {
    const trailer = createHash('sha256').update(database).digest();
    yield [
      { blob: database, remaining: 0, version: undefined },
      { blob: trailer, remaining: 0, version: undefined },
    ];
  },
} as unknown as MemberClient;

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
  const attempt = await attemptBackup({
    client,
    member: 'm1',
    key: 'prod/x.db.zst',
    spoolFolder: folder,
    spoolName: 'spool',
    stores: [slow.store],
    recipients: [],
    expectedBytes: database.length,
    maxRate: 0,
    onTotal: async () => {},
    judge: () => {},
    onProgress: (event) => events.push(event),
    logger: silentLogger,
    signal,
  });
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
