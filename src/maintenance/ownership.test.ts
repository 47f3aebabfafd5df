import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import type { Lock, LockResult } from '../etcd/coordination.ts';
import { silentLogger } from '../telemetry/logger.ts';
import { openOwnership, type Ownership, type OwnershipOptions } from './ownership.ts';

const signal = new AbortController().signal;
const NO_SPACE: LockResult = { outcome: 'unavailable', reason: 'NOSPACE is armed', code: 'no-space' };

interface Setting {
  lock: LockResult;
  elected: string | undefined | Error;
  readonly asked: { readonly purpose: string; readonly ttlSeconds: number | undefined }[];
  readonly warnings: string[];
}

function setting(lock: LockResult, elected?: string | Error): Setting {
  return { lock, elected, asked: [], warnings: [] };
}

function open(around: Setting, changes: Partial<OwnershipOptions> = {}): Ownership {
  return openOwnership({
    coordination: {
      lock: async (purpose, _, options) => {
        around.asked.push({ purpose, ttlSeconds: options?.ttlSeconds });
        return around.lock;
      },
      elected: async () => {
        if (around.elected instanceof Error) throw around.elected;
        return around.elected;
      },
    },
    purpose: 'maintenance of main',
    elected: false,
    ttlSeconds: 90,
    keyPrefix: '/etcd-warden/',
    logger: { ...silentLogger, warn: (_, message) => around.warnings.push(message) },
    ...changes,
  });
}

function lockOf(): {
  readonly lock: Lock;
  held: boolean;
  other: string | undefined;
  lose: (holder: string | undefined) => void;
  released: number;
} {
  const self = {
    held: true,
    other: undefined as string | undefined,
    released: 0,
    lose: ((): void => {}) as (holder: string | undefined) => void,
    lock: {
      clusterId: 0xaan,
      onLost: (listener: (holder: string | undefined) => void) => {
        self.lose = listener;
      },
      heldByOther: async () => self.other,
      get held() {
        return self.held;
      },
      release: async () => {
        self.released++;
      },
    },
  };
  return self;
}

describe('who may act', () => {
  test('whoever holds the lock, for longer than three times the longest freeze; asked again before each step', async () => {
    const mine = lockOf();
    const around = setting({ outcome: 'held', lock: mine.lock });
    const ownership = open(around);
    expect(ownership.state()).toMatchObject({ state: 'unasked' });
    await ownership.take(signal);
    expect(around.asked).toEqual([{ purpose: 'maintenance of main', ttlSeconds: 90 }]);
    expect(ownership.state()).toEqual({ state: 'held', detail: undefined, elected: false });
    await ownership.confirm(signal);
    expect(around.asked).toHaveLength(1);
    await ownership.release();
    expect(mine.released).toBe(1);
  });

  test.each<[string, (mine: ReturnType<typeof lockOf>) => void, RegExp]>([
    ['somebody else has it by what etcd says', (mine) => (mine.other = 'm pid 7 (backup of main)'), /was lost and m pid 7/],
    ['somebody else was told to have it', (mine) => mine.lose('m pid 8'), /was lost and m pid 8/],
    ['its lease can no longer be shown to be alive', (mine) => (mine.held = false), /^the lock of this cluster was lost$/],
  ])('not when the lock was lost: %s', async (_, happen, message) => {
    const mine = lockOf();
    const around = setting({ outcome: 'held', lock: mine.lock });
    const ownership = open(around);
    await ownership.take(signal);
    happen(mine);
    await expect(ownership.confirm(signal)).rejects.toMatchObject({ code: 'locked', message: expect.stringMatching(message) as string });
    expect(ownership.state().state).toBe('elsewhere');
  });

  test('not when most endpoints belong to another cluster by now, which is no surprise of this one; any other silence is told as it is', async () => {
    const mine = lockOf();
    const ownership = open(setting({ outcome: 'held', lock: mine.lock }));
    await ownership.take(signal);
    mine.lock.heldByOther = () => Promise.reject(new WardenError('timeout', 'nobody answers'));
    await expect(ownership.confirm(signal)).rejects.toMatchObject({ code: 'timeout' });
    mine.lock.heldByOther = () => Promise.reject(new WardenError('cluster-ids-disagree', 'most endpoints belong to cluster bb now'));
    await expect(ownership.confirm(signal)).rejects.toMatchObject({
      code: 'locked',
      message: 'the lock of this cluster was lost: most endpoints belong to cluster bb now',
    });
    expect(ownership.state()).toMatchObject({ state: 'elsewhere', detail: 'most endpoints belong to cluster bb now' });
  });

  test('not while somebody else holds the lock, who is named with the key to delete', async () => {
    const ownership = open(setting({ outcome: 'held-by-other', holder: 'h pid 1 (backup of main)' }));
    await expect(ownership.take(signal)).rejects.toMatchObject({
      code: 'locked',
      message: 'another process holds the lock of this cluster: h pid 1 (backup of main)',
      hint: expect.stringContaining('etcdctl del /etcd-warden/lock') as string,
    });
    expect(ownership.state()).toMatchObject({ state: 'elsewhere', detail: 'h pid 1 (backup of main)' });
    await ownership.release();
  });

  test.each(['no-quorum', 'unreachable', 'permission-denied'] as const)(
    'not when no lock can be had for another reason: %s',
    async (code) => {
      const ownership = open(setting({ outcome: 'unavailable', reason: 'so it is', code }));
      await expect(ownership.take(signal)).rejects.toMatchObject({
        code,
        message: expect.stringContaining('so it is') as string,
        // To go on without a lock is no way out for whom etcd then refuses everything else.
        hint: expect.stringContaining(code === 'permission-denied' ? 'root role' : '--no-coordinate') as string,
      });
    },
  );

  test('without coordination anybody', async () => {
    const ownership = open(setting(NO_SPACE), { coordination: undefined });
    await ownership.take(signal);
    await ownership.confirm(signal);
    expect(ownership.state()).toMatchObject({ state: 'without' });
    await ownership.release();
  });
});

describe('H25: while NOSPACE lets nobody take the lock', () => {
  test('a process that nobody elected goes on when no daemon is, and says so once', async () => {
    const around = setting(NO_SPACE);
    const ownership = open(around);
    await ownership.take(signal);
    await ownership.confirm(signal);
    expect(ownership.state()).toMatchObject({ state: 'without', detail: expect.stringContaining('no daemon is elected') as string });
    expect(around.warnings).toEqual(['going on without the lock of the cluster']);
  });

  test('it does not when a daemon is elected, or nobody can tell', async () => {
    await expect(open(setting(NO_SPACE, 'h pid 2')).take(signal)).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining('h pid 2') as string,
      hint: expect.stringContaining('--no-coordinate') as string,
    });
    await expect(open(setting(NO_SPACE, new WardenError('timeout', 'no answer'))).take(signal)).rejects.toMatchObject({ code: 'timeout' });
  });

  test('the daemon that is elected goes on', async () => {
    const ownership = open(setting(NO_SPACE, 'h pid 2'), { elected: true });
    await ownership.take(signal);
    expect(ownership.state()).toMatchObject({ state: 'without', elected: true });
  });

  test('a daemon that is elected meanwhile, or whoever takes the lock, stops it before its next step', async () => {
    const around = setting(NO_SPACE);
    const ownership = open(around);
    await ownership.take(signal);
    around.elected = 'h pid 3';
    await expect(ownership.confirm(signal)).rejects.toMatchObject({ code: 'locked' });
    around.lock = { outcome: 'held-by-other', holder: 'h pid 4' };
    await expect(ownership.confirm(signal)).rejects.toMatchObject({ code: 'locked' });
  });

  test('the lock is taken as soon as it can be had', async () => {
    const around = setting(NO_SPACE);
    const ownership = open(around);
    await ownership.take(signal);
    const mine = lockOf();
    around.lock = { outcome: 'held', lock: mine.lock };
    await ownership.confirm(signal);
    expect(ownership.state()).toMatchObject({ state: 'held' });
    await ownership.release();
    expect(mine.released).toBe(1);
  });
});
