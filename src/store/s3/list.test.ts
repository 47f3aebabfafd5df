import { describe, expect, test } from 'vitest';
import type { Bucket } from './bucket.ts';
import type { Calls } from './calls.ts';
import { listObjects } from './list.ts';
import { TUNING } from './tuning.ts';

const { signal } = new AbortController();
const bucket = { Bucket: 'b', prefix: 'p/' } as Bucket;

interface Page {
  readonly keys: readonly string[];
  /** Undefined = the last page. */
  readonly next?: string | undefined;
  readonly cut?: boolean;
}

/** A store that answers with these pages, whatever is asked; `tokens` are what it was asked with. */
function serving(pages: readonly Page[], tokens: (string | undefined)[] = []): Calls {
  let served = 0;
  return {
    tuning: TUNING,
    requestTimeoutMs: 1,
    retries: 0,
    location: 's3://b/p',
    pause: () => Promise.resolve(),
    call: (_what, attempt) => {
      const { keys, next, cut } = pages[Math.min(served++, pages.length - 1)]!;
      const page = { Contents: keys.map((Key) => ({ Key, Size: 1 })), IsTruncated: cut ?? next !== undefined, NextContinuationToken: next };
      const client = {
        send: (command: { input: { ContinuationToken?: string } }) => {
          tokens.push(command.input.ContinuationToken);
          return Promise.resolve(page);
        },
      };
      return attempt(client as never, signal);
    },
  };
}

async function list(calls: Calls, prefix = '', startAfter = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listObjects(calls, bucket, prefix, { signal, startAfter })) keys.push(key);
  return keys;
}

describe('a listing of pages', () => {
  test('pages follow each other by their tokens', async () => {
    const tokens: (string | undefined)[] = [];
    expect(await list(serving([{ keys: ['p/a', 'p/b'], next: '1' }, { keys: [], next: '2' }, { keys: ['p/c'] }], tokens))).toEqual([
      'a',
      'b',
      'c',
    ]);
    expect(tokens).toEqual([undefined, '1', '2']);
  });

  test('a page that came already is asked for again with the same token', async () => {
    const tokens: (string | undefined)[] = [];
    const first = { keys: ['p/a', 'p/b'], next: '1' };
    expect(await list(serving([first, first, first, { keys: ['p/c'] }], tokens))).toEqual(['a', 'b', 'c']);
    expect(tokens).toEqual([undefined, '1', '1', '1']);
  });

  test('a store that goes on repeating itself is an error, not a loop', async () => {
    await expect(list(serving([{ keys: ['p/a'], next: '1' }]))).rejects.toMatchObject({ code: 'store-misbehaves' });
    await expect(list(serving([{ keys: [], next: '1' }]))).rejects.toMatchObject({ code: 'store-misbehaves' });
  });

  test('pages that go backwards are an error: an object may be missing', async () => {
    await expect(list(serving([{ keys: ['p/c', 'p/d'], next: '1' }, { keys: ['p/a', 'p/e'] }]))).rejects.toMatchObject({
      code: 'store-misbehaves',
    });
  });

  test('a listing that is cut without saying where to go on is an error', async () => {
    await expect(list(serving([{ keys: ['p/a'], cut: true }]))).rejects.toMatchObject({ code: 'store-misbehaves' });
  });

  test('an object that is there twice in a page comes once, and a page out of order is sorted', async () => {
    expect(await list(serving([{ keys: ['p/b', 'p/a', 'p/b', 'p/\u{1f98a}', 'p/ﾮ'] }]))).toEqual(['a', 'b', 'ﾮ', '\u{1f98a}']);
  });

  test('folder markers and what lies outside the prefix are passed over', async () => {
    expect(await list(serving([{ keys: ['p/', 'p/x/', 'p/x/y', 'q/z', 'pp'] }]))).toEqual(['x/y']);
  });

  test('a server that does not know StartAfter is read from the beginning', async () => {
    expect(await list(serving([{ keys: ['p/a', 'p/b'], next: '1' }, { keys: ['p/c'] }]), '', 'b')).toEqual(['c']);
  });
});
