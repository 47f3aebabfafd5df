import { describe, expect, test } from 'vitest';
import { patiently } from '../../support/elections.ts';

/** Says each of these once, then its last word for ever. */
function saying(...words: readonly string[]): { ask: () => Promise<string>; asked: () => number } {
  let asked = 0;
  return {
    asked: () => asked,
    ask: async () => {
      const word = words[Math.min(asked++, words.length - 1)]!;
      if (word !== 'well') throw new Error(word);
      return word;
    },
  };
}

describe('asking while a cluster elects', () => {
  test('what did nothing is asked again, whatever it is', async () => {
    const member = saying(
      '2 UNKNOWN: raft proposal dropped',
      '14 UNAVAILABLE: etcdserver: no leader',
      'etcdserver: unhealthy cluster',
      'well',
    );
    expect(await patiently(member.ask, { reads: false, everyMs: 1 })).toBe('well');
    expect(member.asked()).toBe(4);
  });

  test('what may have done something is asked again only where it reads', async () => {
    for (const word of ['14 UNAVAILABLE: etcdserver: leader changed', '4 DEADLINE_EXCEEDED: Deadline exceeded after 1s']) {
      expect(await patiently(saying(word, 'well').ask, { everyMs: 1 })).toBe('well');
      const member = saying(word, 'well');
      await expect(patiently(member.ask, { reads: false, everyMs: 1 })).rejects.toThrow(word);
      expect(member.asked()).toBe(1);
    }
  });

  test('any other refusal is told at once, and one that does not end is told in time', async () => {
    const refused = saying('3 INVALID_ARGUMENT: etcdserver: user name is empty');
    await expect(patiently(refused.ask)).rejects.toThrow('user name is empty');
    expect(refused.asked()).toBe(1);
    await expect(patiently(saying('etcdserver: no leader').ask, { timeoutMs: 20, everyMs: 5 })).rejects.toThrow('no leader (waited 20 ms)');
  });
});
