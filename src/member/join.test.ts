import { describe, expect, test } from 'vitest';
import { seen, sightOf } from '../../test/support/membership.ts';
import { judge, type HashComparison } from './hashes.ts';
import { heirOf } from './handover.ts';
import { joinedState, startWith } from './join.ts';

test('a new member is started with everybody in it, by the name that it was given', () => {
  const members = [seen(2n), seen(10n), seen(1n), seen(9n, { is: 'unstarted', peerUrls: ['https://[::1]:2380', 'https://b:2380'] })];
  expect(startWith('m9', 9n, members)).toEqual({
    name: 'm9',
    peerUrls: ['https://[::1]:2380', 'https://b:2380'],
    initialCluster: 'm1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m9=https://[::1]:2380,m9=https://b:2380,m10=http://10.0.0.10:2380',
    environment: {
      ETCD_NAME: 'm9',
      ETCD_INITIAL_ADVERTISE_PEER_URLS: 'https://[::1]:2380,https://b:2380',
      ETCD_INITIAL_CLUSTER:
        'm1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m9=https://[::1]:2380,m9=https://b:2380,m10=http://10.0.0.10:2380',
      ETCD_INITIAL_CLUSTER_STATE: 'existing',
    },
    flags: [
      '--name=m9',
      '--initial-advertise-peer-urls=https://[::1]:2380,https://b:2380',
      '--initial-cluster=m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m9=https://[::1]:2380,m9=https://b:2380,m10=http://10.0.0.10:2380',
      '--initial-cluster-state=existing',
    ],
  });
});

test.each([
  [undefined, false, 'has not reached the member that was asked yet'],
  [seen(3n, { is: 'unstarted' }), false, 'm3 has not been started yet'],
  [seen(3n, { is: 'down' }), false, 'm3 was started, and does not answer: m3 is down'],
  [
    { ...seen(3n, { is: 'down' }), error: { code: 'unreachable', message: 'not from here', hint: 'name it' } as const },
    false,
    'm3 was started, and does not answer: not from here (name it)',
  ],
  [seen(3n, { learner: true, leader: 0n }), false, 'm3 runs, and knows no leader yet'],
  [seen(3n, { learner: true, lag: 1_001n }), false, 'm3 runs and catches up, 1001 raft entries behind'],
  [seen(3n, { is: 'deaf' }), false, 'm3 runs, and no linearizable read goes through it: m3 is deaf'],
  [seen(3n, { learner: true, lag: 1_000n }), true, 'm3 runs and has caught up'],
  [seen(3n), true, 'm3 runs and has caught up'],
])('how far a new member is, is told in one sentence', (member, done, sentence) => {
  expect(joinedState('m3', member)).toEqual({ done, sentence: expect.stringContaining(sentence) });
});

test('the leadership goes to the voter that lags least', () => {
  const members = [seen(1n), seen(2n, { lag: 5n }), seen(3n, { lag: 2n }), seen(4n, { is: 'deaf' }), seen(5n, { learner: true })];
  expect(heirOf(sightOf(members), members[0]!)?.name).toBe('m3');
  expect(heirOf(sightOf(members.slice(0, 1)), members[0]!)).toBeUndefined();
});

describe('hashes of all members', () => {
  const answer = (member: string, hash: number, compactRevision = 5n): HashComparison['members'][number] => ({
    member,
    hash,
    compactRevision,
    tookMs: 1,
    error: undefined,
  });
  const silent = (code: 'timeout' | 'revision-compacted'): HashComparison['members'][number] => ({
    member: 'm3',
    hash: undefined,
    compactRevision: undefined,
    tookMs: undefined,
    error: { code, message: 'no answer' },
  });

  test('agree, differ, or tell nothing', () => {
    expect(judge(9n, [answer('m1', 7), answer('m2', 7)], [])).toEqual({
      verdict: 'agree',
      message: 'all 2 voters have the same data at revision 9',
      again: false,
    });
    expect(judge(9n, [answer('m1', 7), answer('m2', 255)], [seen(1n)])).toEqual({
      verdict: 'differ',
      message: 'members have different data at revision 9: m1 7, m2 ff',
      again: false,
    });
  });

  test('are asked again when a compaction came between them', () => {
    expect(judge(9n, [answer('m1', 7), answer('m2', 8, 6n)], [])).toMatchObject({ verdict: 'unclear', again: true });
    expect(judge(9n, [answer('m1', 7), silent('revision-compacted')], [])).toMatchObject({ verdict: 'unclear', again: true });
    expect(judge(9n, [answer('m1', 7), silent('timeout')], [])).toMatchObject({
      verdict: 'unclear',
      again: false,
      message: 'not every member gave a hash of revision 9: m3: no answer',
    });
    // That one is silent does not hide that two differ.
    expect(judge(9n, [answer('m1', 7), answer('m2', 8), silent('timeout')], [])).toMatchObject({ verdict: 'differ' });
  });

  test('etcd #18274: releases that hash wrongly accuse nobody', () => {
    const voters = [seen(1n, { version: '3.5.15' }), seen(2n)];
    expect(judge(9n, [answer('m1', 7), answer('m2', 8)], voters)).toMatchObject({
      verdict: 'unclear',
      message: expect.stringContaining('#18274'),
    });
  });
});
