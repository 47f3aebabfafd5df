import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { clusterOfMost, distinct, type Identity, majorityOf, nobodyAnswers } from './majority.ts';

const at = (endpoint: string, clusterId: bigint, memberId: bigint): Identity => ({ endpoint, clusterId, memberId });

describe('which cluster is meant', () => {
  test('that of more than half of those who answer', () => {
    expect(majorityOf([])).toBeUndefined();
    expect(majorityOf([at('a', 1n, 1n)])).toBe(1n);
    expect(majorityOf([at('a', 2n, 9n), at('b', 1n, 1n), at('c', 1n, 2n)])).toBe(1n);
    expect(majorityOf([at('a', 2n, 9n), at('b', 1n, 1n)])).toBeUndefined();
    expect(majorityOf([at('a', 3n, 8n), at('b', 2n, 9n), at('c', 1n, 1n), at('d', 1n, 2n)])).toBeUndefined();
  });

  test('a member under two addresses has one voice, and two members of one id in different clusters have two', () => {
    const twice = [at('a', 2n, 9n), at('localhost', 2n, 9n), at('b', 1n, 1n)];
    expect(distinct(twice)).toHaveLength(2);
    expect(majorityOf(twice)).toBeUndefined();
    // The id of a member follows from its peer URLs and the token: one that was started as a new cluster may have the one it had before.
    expect(distinct([at('a', 2n, 1n), at('b', 1n, 1n)])).toHaveLength(2);
  });

  test('without a majority nobody is meant, and all are named', () => {
    expect(clusterOfMost('prod', [at('a', 1n, 1n)])).toBe(1n);
    expect(() => clusterOfMost('prod', [at('http://a:1', 0xaan, 1n), at('http://b:1', 0xbbn, 2n)])).toThrow(
      expect.objectContaining({
        code: 'cluster-ids-disagree',
        message: expect.stringMatching(/prod .*http:\/\/a:1 of aa, http:\/\/b:1 of bb/) as string,
      }),
    );
  });
});

test('when nobody answers the reason that says most is told, with all sentences once', () => {
  const refused = new WardenError('unreachable', 'connection refused');
  const denied = new WardenError('permission-denied', 'not root', { hint: 'grant it' });
  const odd = new WardenError('etcd-failed', 'odd');
  expect(nobodyAnswers('prod', [odd, refused, denied, denied])).toMatchObject({
    code: 'permission-denied',
    message: 'no member of prod can be asked: odd; connection refused; not root',
    hint: 'grant it',
  });
  expect(nobodyAnswers('prod', [refused])).toMatchObject({ code: 'unreachable', hint: expect.stringContaining('--endpoints') as string });
  expect(nobodyAnswers('prod', [new WardenError('timeout', 'late')])).toMatchObject({ code: 'timeout', hint: undefined });
  expect(nobodyAnswers('prod', [new Error('anything')])).toMatchObject({ code: 'unreachable', message: 'no endpoint of prod answers' });
});
