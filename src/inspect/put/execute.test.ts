import { describe, expect, test } from 'vitest';
import { memoryDirectory, memoryKeys, type MemoryKeys } from '../../../test/support/memory-keys.ts';
import { WardenError } from '../../errors.ts';
import { executePut, type ExecuteRequest, type Executed } from './execute.ts';
import { planPut } from './plan.ts';
import type { PutPlan } from './types.ts';

const KEYS = Array.from({ length: 250 }, (_, at) => ({ key: `/k/${1000 + at}`, main: at + 2, value: `value ${at}` }));
const directory = memoryDirectory(KEYS);
const signal = new AbortController().signal;
const TIMEOUT = new WardenError('timeout', 'no answer');

function planFor(live: MemoryKeys): Promise<PutPlan> {
  return planPut({ directory, live, range: {}, at: 1000n, withLease: false, preview: () => '', signal });
}

async function execute(live: MemoryKeys, { changes }: PutPlan, more: Partial<ExecuteRequest> = {}): Promise<Executed> {
  return executePut({ changes, directory, live, signal, ...more });
}

function counts({ puts }: Executed): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const { outcome } of puts) counted[outcome] = (counted[outcome] ?? 0) + 1;
  return counted;
}

function holdsAll(live: MemoryKeys): boolean {
  return KEYS.every(({ key, value }) => live.keys.get(key)?.value.toString() === value);
}

describe('putting keys back', () => {
  test('in transactions of a hundred', async () => {
    const live = memoryKeys();
    const done: number[] = [];
    const executed = await execute(live, await planFor(live), { onProgress: (count) => done.push(count) });
    expect(counts(executed)).toEqual({ put: 250 });
    expect(executed.stopped).toBeUndefined();
    expect(live.transactions.map((puts) => puts.length)).toEqual([100, 100, 50]);
    expect(done).toEqual([100, 200, 250]);
    expect(holdsAll(live)).toBe(true);
  });

  test('what changed, appeared or vanished after it was shown is left as it is, and the others of its batch are put', async () => {
    const live = memoryKeys();
    live.set('/k/1000', 'to be changed');
    live.set('/k/1001', 'to be deleted');
    const plan = await planFor(live);
    live.set('/k/1000', 'newer');
    live.remove('/k/1001');
    live.set('/k/1002', 'appeared');
    live.set('/k/1003', 'value 3');
    const executed = await execute(live, plan);
    expect(counts(executed)).toEqual({ put: 246, conflict: 3, 'already-there': 1 });
    expect(executed.puts.slice(0, 3).map(({ reason }) => reason)).toEqual([
      'it was changed at mod revision 4, after it was shown at 2',
      'it was deleted after it was shown at mod revision 3',
      'it was created at mod revision 6, after it was shown as absent',
    ]);
    expect(live.keys.get('/k/1000')?.value.toString()).toBe('newer');
    expect(live.keys.has('/k/1001')).toBe(false);
    expect(live.keys.get('/k/1002')?.value.toString()).toBe('appeared');
  });

  test('a lost answer is followed by a look, and what was carried out is not sent again', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    let round = 0;
    live.before = (_puts, carryOut) => {
      if (round++ > 0) return undefined;
      carryOut();
      return { outcome: 'unclear', error: TIMEOUT };
    };
    expect(counts(await execute(live, plan))).toEqual({ put: 250 });
    expect(live.transactions.map((puts) => puts.length)).toEqual([100, 100, 50]);
  });

  test('a lost request is sent again', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    let round = 0;
    live.before = () => (round++ === 0 ? { outcome: 'unclear', error: TIMEOUT } : undefined);
    expect(counts(await execute(live, plan))).toEqual({ put: 250 });
    expect(live.transactions.map((puts) => puts.length)).toEqual([100, 100, 100, 50]);
    expect(holdsAll(live)).toBe(true);
  });

  test('a key that was put with its answer lost and then deleted by somebody is not put a second time', async () => {
    const live = memoryKeys();
    live.set('/k/1000', 'old');
    const plan = await planFor(live);
    let round = 0;
    live.before = (_puts, carryOut) => {
      if (round++ > 0) return undefined;
      carryOut();
      live.remove('/k/1000');
      return { outcome: 'unclear', error: TIMEOUT };
    };
    const executed = await execute(live, plan);
    expect(counts(executed)).toEqual({ put: 249, conflict: 1 });
    expect(live.keys.has('/k/1000')).toBe(false);
  });

  test('when answers stay away the work ends, and says what may have been put; a second run does the rest', async () => {
    const live = memoryKeys();
    let lostAnswers = true;
    live.before = () => (lostAnswers && live.transactions.length > 1 ? { outcome: 'unclear', error: TIMEOUT } : undefined);
    const executed = await execute(live, await planFor(live));
    expect(counts(executed)).toEqual({ put: 100, failed: 100, 'not-tried': 50 });
    expect(executed.stopped).toBe(TIMEOUT);
    expect(executed.puts[100]?.reason).toBe('it may have been put: no answer');
    lostAnswers = false;
    const again = await planFor(live);
    expect(again).toMatchObject({ same: 100 });
    expect(counts(await execute(live, again))).toEqual({ put: 150 });
    expect(holdsAll(live)).toBe(true);
  });

  test('a cluster that can be asked nothing after a lost answer ends the work too', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    live.before = () => ({ outcome: 'unclear', error: TIMEOUT });
    const executed = await execute({ ...live, read: () => Promise.reject(new WardenError('no-quorum', 'nobody leads')) }, plan);
    expect(counts(executed)).toEqual({ failed: 100, 'not-tried': 150 });
    expect(executed.stopped).toBe(TIMEOUT);
  });

  test('after a refused condition, a cluster that can be asked nothing more ends the work without a claim', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    live.set('/k/1000', 'newer');
    const silent = new WardenError('no-quorum', 'nobody leads');
    const executed = await execute({ ...live, read: () => Promise.reject(silent) }, plan);
    expect(counts(executed)).toEqual({ 'not-tried': 250 });
    expect(executed.stopped).toBe(silent);
  });

  test('a refusal ends the work with its reason', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    const denied = new WardenError('permission-denied', 'not allowed');
    const executed = await execute({ ...live, put: () => Promise.reject(denied) }, plan);
    expect(counts(executed)).toEqual({ failed: 100, 'not-tried': 150 });
    expect(executed.stopped).toBe(denied);
    const odd = await execute({ ...live, put: () => Promise.reject(new TypeError('odd')) }, plan);
    expect(odd.stopped).toMatchObject({ code: 'failed', message: 'odd' });
  });

  test('no space left: what was carried out all the same counts as put, which a look tells', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    const full = new WardenError('no-space', 'database space exceeded');
    let round = 0;
    const put: MemoryKeys['put'] = async (puts, own) => {
      if (++round === 2) await live.put(puts, own);
      if (round >= 2) throw full;
      return live.put(puts, own);
    };
    const first = await execute({ ...live, put }, plan);
    expect(counts(first)).toEqual({ put: 200, 'not-tried': 50 });
    expect(first.stopped).toBe(full);
    const second = await execute({ ...live, put }, await planFor(live));
    expect(counts(second)).toEqual({ failed: 50 });
    const blind = await execute({ ...live, put, read: () => Promise.reject(new Error('no')) }, await planFor(live));
    expect(counts(blind)).toEqual({ failed: 50 });
    expect(blind.puts[0]?.reason).toBe('it may have been put: database space exceeded');
  });

  test('a transaction that is too large for this etcd is cut in halves, and a key that is too large alone is told', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    const tooLarge = new WardenError('etcd-failed', 'etcdserver: request is too large');
    const put: MemoryKeys['put'] = async (puts) => {
      if (puts.length > 30 || puts.some(({ key }) => String(key) === '/k/1007')) throw tooLarge;
      return live.put(puts, undefined);
    };
    const executed = await execute({ ...live, put }, plan);
    expect(counts(executed)).toEqual({ put: 249, failed: 1 });
    expect(executed.puts[7]).toMatchObject({ outcome: 'failed', reason: tooLarge.message });
    expect(executed.stopped).toBeUndefined();
  });

  test('a key that others write all the time is given up, not fought for', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    // Refused for a change that is gone again when we look.
    live.before = () => ({ outcome: 'changed' });
    const executed = await execute(live, { ...plan, changes: plan.changes.slice(0, 2) });
    expect(counts(executed)).toEqual({ conflict: 2 });
    expect(live.transactions).toHaveLength(4);
  });

  test('a signal ends it between two batches', async () => {
    const live = memoryKeys();
    const stop = new AbortController();
    const executed = await execute(live, await planFor(live), { signal: stop.signal, onProgress: () => stop.abort() });
    expect(counts(executed)).toEqual({ put: 100, 'not-tried': 150 });
    expect(executed.stopped).toMatchObject({ code: 'interrupted' });
    const reason = new WardenError('interrupted', 'stopped by SIGINT');
    const before = await execute(live, await planFor(live), { signal: AbortSignal.abort(reason) });
    expect(before.stopped).toBe(reason);
    expect(counts(before)).toEqual({ 'not-tried': 150 });
  });

  test('a backup that can no longer be read ends it, with what was put before', async () => {
    const live = memoryKeys();
    const plan = await planFor(live);
    const gone = new WardenError('object-missing', 'it is gone');
    const executed = await execute(live, plan, {
      directory: {
        ...directory,
        value: (entry, revision, own) => (revision.main > 150n ? Promise.reject(gone) : directory.value(entry, revision, own)),
      },
    });
    expect(counts(executed)).toEqual({ put: 100, 'not-tried': 150 });
    expect(executed.stopped).toBe(gone);
  });
});
