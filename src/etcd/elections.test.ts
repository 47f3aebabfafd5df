import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { throughElections } from './elections.ts';

const DROPPED = new Error('2 UNKNOWN: raft proposal dropped');

/** Throws these in turn, then answers. */
function answers(...failures: readonly Error[]): { ask: (leftMs: number) => Promise<string>; given: number[] } {
  const given: number[] = [];
  return {
    given,
    ask: async (leftMs) => {
      const failure = failures[given.push(leftMs) - 1];
      if (failure !== undefined) throw failure;
      return 'well';
    },
  };
}

describe('asking through an election', () => {
  test('what is refused meanwhile is asked again, with what is left of the time', async () => {
    const refusals = [
      'raft proposal dropped',
      'etcdserver: no leader',
      'etcdserver: leader changed',
      'etcdserver: not capable',
      'etcdserver: too many requests',
      'etcdserver: request timed out, possibly due to previous leader failure',
    ];
    const asked = refusals.map(async (details) => {
      const { ask, given } = answers(new WardenError('no-quorum', `Maintenance/Alarm at http://m1:2379: ${details}`));
      return { answer: await throughElections({ timeoutMs: 5_000, signal: undefined }, ask), given };
    });
    for (const { answer, given } of await Promise.all(asked)) {
      expect(answer).toBe('well');
      expect(given).toEqual([5_000, expect.any(Number)]);
      expect(given[1]).toBeLessThanOrEqual(4_900);
    }
  });

  test('every other failure is told at once', async () => {
    for (const details of ['etcdserver: request timed out', 'etcdserver: permission denied', 'connect ECONNREFUSED 127.0.0.1:1']) {
      const { ask, given } = answers(new Error(details), DROPPED);
      await expect(throughElections({ timeoutMs: 5_000, signal: undefined }, ask)).rejects.toThrow(details);
      expect(given).toHaveLength(1);
    }
  });

  test('an election that does not end is told when the time is up, also when the last try had too little of it', async () => {
    const dropped = answers(...Array.from({ length: 99 }, () => DROPPED));
    await expect(throughElections({ timeoutMs: 130, signal: undefined }, dropped.ask)).rejects.toBe(DROPPED);
    expect(dropped.given.length).toBeGreaterThan(1);
    let tries = 0;
    const late = async (leftMs: number): Promise<never> => {
      if (tries++ === 0) throw DROPPED;
      await new Promise((resolve) => setTimeout(resolve, leftMs));
      throw new WardenError('timeout', 'did not answer');
    };
    await expect(throughElections({ timeoutMs: 130, signal: undefined }, late)).rejects.toBe(DROPPED);
    expect(tries).toBe(2);
    await expect(throughElections({ timeoutMs: 50, signal: undefined }, () => Promise.reject(new Error('late')))).rejects.toThrow('late');
  });

  test('whoever gives up waits for no pause, and gets the words of the call', async () => {
    const stop = new AbortController();
    const stopped = new WardenError('interrupted', 'stopped');
    const asking = throughElections({ timeoutMs: 60_000, signal: stop.signal }, async () => {
      if (stop.signal.aborted) throw stopped;
      setImmediate(() => stop.abort());
      throw DROPPED;
    });
    await expect(asking).rejects.toBe(stopped);
    await expect(throughElections({ timeoutMs: 60_000, signal: stop.signal }, answers(DROPPED).ask)).rejects.toBe(DROPPED);
  });
});
