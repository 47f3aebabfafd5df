import { expect, test } from 'vitest';
import { seen, sightOf } from '../../../test/support/membership.ts';
import { memberGateLines, memberGatesJson, memberListJson, membersText, startText } from './members.ts';
import { startWith } from '../../member/join.ts';

const sight = sightOf(
  [
    seen(1n),
    seen(2n, { lag: 7n }),
    seen(3n, { is: 'down' }),
    seen(4n, { learner: true }),
    seen(5n, { learner: true, is: 'unstarted' }),
    seen(6n, { is: 'deaf' }),
  ],
  {
    listed: 'memory',
    alarms: [
      { type: 'CORRUPT', memberId: 2n },
      { type: 'NOSPACE', memberId: 0xffn },
      { type: 'CORRUPT', memberId: 0n },
    ],
    strays: [
      { endpoint: 'http://10.0.0.3:2379', clusterId: 0xbadn, memberId: 1n, version: '3.6.16', advertisedBy: 'm3', removed: false },
      { endpoint: 'http://10.0.0.8:2379', clusterId: 0xc1n, memberId: 8n, version: '3.6.16', advertisedBy: undefined, removed: true },
    ],
    notes: ['something to know'],
  },
);

test('a list shows everybody, whether they answer or not, and whoever answers without being in it', () => {
  // As they are counted, whatever their ids: etcd lists them by those.
  const text = membersText({ ...sight, members: sight.members.toReversed() }, Infinity);
  const lines = text.split('\n');
  expect(lines[0]).toBe('cluster prod (c1): NO QUORUM, 2 of 4 voters answer, 3 are needed');
  const rows = lines.slice(2, 8).map((line) => line.split(/ {2,}/).slice(0, 4));
  expect(rows).toEqual([
    ['1', 'm1', 'started', 'leader'],
    ['2', 'm2', 'started', 'voter'],
    ['3', 'm3', 'silent', 'voter'],
    ['4', 'm4', 'started', 'learner'],
    ['6', 'm6', 'no quorum', 'voter'],
    ['5', '-', 'unstarted', 'learner'],
  ]);
  expect(lines.slice(8)).toEqual([
    'note: m3: m3 is down',
    'note: m6: m6 is deaf',
    'note: 5: m5 is unstarted',
    'note: alarm CORRUPT is armed for m2',
    'note: alarm NOSPACE is armed for ff, which is no member',
    'note: alarm CORRUPT is armed for nobody in particular',
    'note: at http://10.0.0.3:2379, an address of m3, a member of another cluster answers (bad)',
    'note: at http://10.0.0.8:2379 a process answers as 8, which is no member (any more)',
    'note: the list is as one member remembers it: no majority could be asked',
    'note: something to know',
  ]);
});

test('as JSON ids are hex and numbers of 64 bits text', () => {
  const json = memberListJson(sight) as { members: unknown[] };
  expect(json).toMatchObject({
    clusterId: 'c1',
    quorum: false,
    voters: 4,
    listed: 'memory',
    strays: [{ clusterId: 'bad' }, { removed: true }],
  });
  expect(json.members[1]).toMatchObject({ id: '2', status: 'started', role: 'voter', lag: '7', dbSize: 1_000_000, readMs: 1, error: null });
  expect(json.members[4]).toMatchObject({ name: null, status: 'unstarted', role: 'learner', lag: null, version: null, endpoint: null });
  expect(JSON.parse(JSON.stringify(json))).toEqual(json);
});

test('what to start a member with can be pasted', () => {
  const start = startWith('m9', 9n, [seen(1n), seen(9n, { is: 'unstarted' })]);
  expect(startText(start).split('\n').slice(1)).toEqual([
    '  ETCD_NAME="m9"',
    '  ETCD_INITIAL_ADVERTISE_PEER_URLS="http://10.0.0.9:2380"',
    '  ETCD_INITIAL_CLUSTER="m1=http://10.0.0.1:2380,m9=http://10.0.0.9:2380"',
    '  ETCD_INITIAL_CLUSTER_STATE="existing"',
    'or on its command line',
    '  --name=m9 \\',
    '  --initial-advertise-peer-urls=http://10.0.0.9:2380 \\',
    '  --initial-cluster=m1=http://10.0.0.1:2380,m9=http://10.0.0.9:2380 \\',
    '  --initial-cluster-state=existing',
  ]);
});

test('gates in the way come with their hint, and whatever a name holds cannot reach the terminal', () => {
  const gates = [
    { rule: 'no-quorum', member: undefined, verdict: 'passed', message: 'all is well' },
    { rule: 'member-down', member: 'm\u001b3', verdict: 'refused', message: 'it does not answer', hint: 'start it' },
    { rule: 'quorum-after', member: undefined, verdict: 'refused', message: 'two of five', hint: 'restore' },
    { rule: 'last-voter', member: undefined, verdict: 'refused', message: 'nobody is left', hint: 'restore' },
    { rule: 'even-voters', member: undefined, verdict: 'warned', message: 'four voters' },
  ] as const;
  expect(memberGateLines(gates, ['refused', 'warned'], Infinity)).toEqual([
    'refused (member-down): m\\x1b3: it does not answer',
    'hint: start it',
    'refused (quorum-after): two of five',
    'refused (last-voter): nobody is left',
    'hint: restore',
    'warning (even-voters): four voters',
  ]);
  expect(memberGatesJson(gates.slice(0, 1))).toEqual([
    { rule: 'no-quorum', member: null, verdict: 'passed', message: 'all is well', hint: null },
  ]);
});
