import { describe, expect, test } from 'vitest';
import { CLUSTER, seen, sightOf } from '../../test/support/membership.ts';
import { gatesFor, refusedBy } from './gates.ts';
import type { MemberGate, MembershipSight, SeenMember } from './types.ts';
import type { Change } from './words.ts';

const THREE = [seen(1n), seen(2n), seen(3n)];

function addition(part: Partial<Extract<Change, { kind: 'add' }>> = {}): Change {
  return { kind: 'add', name: 'm9', peerUrls: ['http://10.0.0.9:2380'], learner: true, forced: false, busy: [], ...part };
}

const removal = (member: SeenMember): Change => ({ kind: 'remove', member });
const promotion = (member: SeenMember): Change => ({ kind: 'promote', member });

/** Rules by verdict; what passed is left out. */
function verdicts(sight: MembershipSight, change: Change): string[] {
  return gatesFor(sight, change)
    .filter(({ verdict }) => verdict !== 'passed')
    .map(({ rule, verdict }) => `${rule} ${verdict}`);
}

function one(sight: MembershipSight, change: Change, rule: MemberGate['rule']): MemberGate {
  const found = gatesFor(sight, change).filter((gate) => gate.rule === rule);
  expect(found).toHaveLength(1);
  return found[0]!;
}

describe('an addition', () => {
  test('of a learner to a healthy cluster goes, and says that an even number of voters is no gain', () => {
    expect(verdicts(sightOf(THREE), addition())).toEqual(['even-voters warned']);
    expect(one(sightOf(THREE), addition(), 'even-voters').message).toBe(
      '4 voters bear the failure of 1, 3 of as many: add another one soon',
    );
    expect(verdicts(sightOf([seen(1n), seen(2n)]), addition())).toEqual([]);
    expect(one(sightOf(THREE), addition(), 'voter-untried')).toMatchObject({ verdict: 'passed' });
    expect(one(sightOf([seen(1n)]), addition(), 'even-voters').message).toContain('2 voters bear the failure of none');
  });

  test('needs quorum, now and then, and names the ways out when it is lost', () => {
    const lost = sightOf([seen(1n, { is: 'deaf' }), seen(2n, { is: 'down' }), seen(3n, { is: 'down' })]);
    expect(verdicts(lost, addition())).toEqual(['no-quorum refused', 'quorum-after refused', 'member-down refused', 'even-voters warned']);
    expect(one(lost, addition(), 'no-quorum')).toMatchObject({
      message: '0 of 3 voters answer, 2 are needed: nothing can be agreed upon',
      hint: expect.stringMatching(/restore .*--force-new-cluster/),
    });
  });

  test('etcd #21640: waits for every voter, and says that etcd itself wants that too', () => {
    const sight = sightOf([seen(1n), seen(2n), seen(3n, { is: 'down' })]);
    expect(verdicts(sight, addition())).toEqual(['member-down refused', 'even-voters warned']);
    expect(one(sight, addition(), 'member-down')).toMatchObject({
      member: 'm3',
      message: 'm3: m3 is down',
      hint: expect.stringContaining('#21640'),
    });
  });

  test('as a voter beside a single one stops the cluster: only when asked for in so many words', () => {
    const single = sightOf([seen(1n)]);
    const forced = one(single, addition({ learner: false, forced: true }), 'voter-untried');
    expect(forced).toMatchObject({ verdict: 'overridden', hint: expect.stringContaining('without --voter') });
    expect(forced.message).toBe(
      'from its addition until m9 runs, the cluster accepts nothing, neither writes nor reads: 2 of 2 voters are needed, and 1 is there',
    );
    expect(one(single, addition({ learner: false }), 'voter-untried')).toMatchObject({ verdict: 'refused' });
  });

  test('as a voter leaves the others less to spare until it runs', () => {
    const voter = addition({ learner: false, forced: true });
    expect(one(sightOf(THREE), voter, 'voter-untried')).toMatchObject({
      verdict: 'warned',
      message: 'from its addition until m9 runs, 3 of 4 voters are needed: none of the others may fail',
    });
    const five = sightOf([1n, 2n, 3n, 4n, 5n].map((id) => seen(id)));
    expect(one(five, voter, 'voter-untried').message).toContain('4 of 6 voters are needed: 1 of the others may fail');
  });

  test('one change at a time: nobody else unstarted, no other learner', () => {
    const unstarted = sightOf([...THREE, seen(4n, { is: 'unstarted' })]);
    expect(one(unstarted, addition(), 'change-under-way')).toMatchObject({
      verdict: 'refused',
      member: '4',
      message: '4 (http://10.0.0.4:2380) was added, but has never been started',
      hint: expect.stringContaining('etcd-warden member remove 4'),
    });
    const far = {
      ...seen(3n, { is: 'down' }),
      error: { code: 'unreachable', message: 'not from here', hint: 'name it with --endpoints' },
    } as const;
    expect(one(sightOf([seen(1n), seen(2n), far]), addition(), 'member-down').hint).toBe('name it with --endpoints');
    const learner = sightOf([...THREE, seen(4n, { learner: true })]);
    expect(one(learner, addition(), 'change-under-way')).toMatchObject({
      verdict: 'refused',
      message: expect.stringContaining('m4 is a learner'),
    });
  });

  test('names, peer URLs and what runs there already are told apart', () => {
    const sight = sightOf(THREE);
    expect(one(sight, addition({ name: 'm2' }), 'name-taken')).toMatchObject({
      verdict: 'refused',
      hint: expect.stringContaining('member replace'),
    });
    expect(one(sight, addition({ peerUrls: ['http://10.0.0.3:2380'] }), 'peer-url-taken')).toMatchObject({
      verdict: 'refused',
      member: 'm3',
    });
    // The member there is no stranger.
    const taken = { peerUrls: ['http://10.0.0.3:2380'], busy: [{ url: 'http://10.0.0.3:2380', clusterId: CLUSTER }] };
    expect(gatesFor(sight, addition(taken)).map(({ rule }) => rule)).not.toContain('peer-url-busy');
    const url = 'http://10.0.0.9:2380';
    const busy = (clusterId: bigint | undefined): string => one(sight, addition({ busy: [{ url, clusterId }] }), 'peer-url-busy').message;
    expect(busy(undefined)).toBe('somebody takes connections at http://10.0.0.9:2380 already');
    expect(busy(CLUSTER)).toContain('an etcd of this very cluster runs');
    expect(busy(0xbadn)).toContain('an etcd of another cluster runs (bad)');
    expect(one(sight, addition({ peerUrls: ['https://10.0.0.9:2380'] }), 'peer-url-scheme')).toMatchObject({
      verdict: 'warned',
      message: 'https://10.0.0.9:2380 is https, the other members use http',
    });
  });

  test('members named as RKE2 and k3s name them are likely theirs', () => {
    const theirs = sightOf([seen(1n, { name: 'node-a-0123abcd' }), seen(2n, { name: 'node-b-89abcdef' })]);
    expect(one(theirs, addition(), 'managed')).toMatchObject({ verdict: 'warned', message: expect.stringContaining('node-a-0123abcd') });
  });

  test('CORRUPT bars it: whose data the new one would be given is not known', () => {
    const alarms = [{ type: 'CORRUPT', memberId: 2n }] as const;
    expect(one(sightOf(THREE, { alarms }), addition(), 'corrupt-alarm')).toMatchObject({
      verdict: 'refused',
      message: 'CORRUPT is armed for m2: whose data is right is not known',
    });
    const nobody = sightOf(THREE, {
      alarms: [
        { type: 'CORRUPT', memberId: 0n },
        { type: 'CORRUPT', memberId: 0xffn },
      ],
    });
    expect(one(nobody, addition(), 'corrupt-alarm').message).toContain('nobody in particular, ff');
    expect(one(sightOf(THREE, { alarms: [{ type: 'NOSPACE', memberId: 1n }] }), addition(), 'corrupt-alarm').verdict).toBe('passed');
  });

  test('etcd #19557, #20340, #11640: what is known of promoted learners in a release is said, or bars them', () => {
    const of = (version: string, count: number): MembershipSight =>
      sightOf([1n, 2n, 3n].slice(0, count).map((id) => seen(id, { version })));
    expect(one(of('3.5.10', 1), addition(), 'version-hazard')).toMatchObject({
      verdict: 'warned',
      message: expect.stringContaining('#19557'),
    });
    expect(one(of('3.4.10', 1), addition(), 'version-hazard')).toMatchObject({
      verdict: 'refused',
      hint: expect.stringContaining('--voter'),
    });
    const voter = addition({ learner: false });
    expect(one(of('3.6.1', 3), voter, 'version-hazard')).toMatchObject({
      verdict: 'warned',
      message: expect.stringMatching(/^added as a voter at once: etcd #20340/),
    });
  });
});

describe('a removal', () => {
  test('of a healthy follower goes', () => {
    expect(verdicts(sightOf(THREE), removal(THREE[2]!))).toEqual(['even-voters warned']);
    expect(one(sightOf(THREE), removal(THREE[2]!), 'quorum-after').message).toBe('afterwards 2 of 2 voters answer, 2 are needed');
  });

  test('of the leader moves the leadership first', () => {
    expect(one(sightOf(THREE), removal(THREE[0]!), 'leader-leaves')).toMatchObject({
      verdict: 'warned',
      message: 'm1 leads: it hands over first',
    });
  });

  test('of the one that is down goes, of another one does not', () => {
    const members = [seen(1n), seen(2n), seen(3n, { is: 'down' })];
    expect(verdicts(sightOf(members), removal(members[2]!))).toEqual(['even-voters warned']);
    expect(verdicts(sightOf(members), removal(members[1]!))).toEqual(['quorum-after refused', 'member-down refused', 'even-voters warned']);
    expect(one(sightOf(members), removal(members[1]!), 'member-down').hint).toBe(
      'start it, replace it (`etcd-warden member replace`), or remove it first',
    );
  });

  test('of one of two that are down for good makes things better', () => {
    const members = [seen(1n), seen(2n), seen(3n), seen(4n, { is: 'down' }), seen(5n, { is: 'deaf' })];
    expect(verdicts(sightOf(members), removal(members[3]!))).toEqual(['member-down warned', 'even-voters warned']);
    const three = [...members, seen(6n, { is: 'down' }), seen(7n)];
    expect(one(sightOf(three), removal(three[3]!), 'member-down').message).toMatch(/^m5, m6 are down too/);
  });

  test('of a dead one is not held up by an addition that was begun before it', () => {
    const members = [seen(1n), seen(2n), seen(3n, { is: 'down' }), seen(4n, { learner: true, is: 'unstarted' })];
    expect(verdicts(sightOf(members), removal(members[2]!))).toEqual(['change-under-way warned', 'even-voters warned']);
    expect(verdicts(sightOf(members), removal(members[1]!))).toContain('change-under-way refused');
  });

  test('of the only voter, or the only one that answers, is refused with what to do instead', () => {
    const single = sightOf([seen(1n)]);
    expect(one(single, removal(single.members[0]!), 'last-voter')).toMatchObject({
      message: 'm1 is the only voter: without it there is no cluster',
      hint: expect.stringContaining('add another member first'),
    });
    expect(verdicts(single, removal(single.members[0]!))).not.toContain('even-voters warned');
    const last = [seen(1n), seen(2n, { is: 'down' })];
    expect(one(sightOf(last), removal(last[0]!), 'last-voter')).toMatchObject({
      message: 'm1 is the only voter that answers: without it there is no cluster',
      hint: expect.stringContaining('member replace'),
    });
  });

  test('of the dead one of two cannot be agreed upon', () => {
    const two = [seen(1n, { is: 'deaf' }), seen(2n, { is: 'down' })];
    expect(verdicts(sightOf(two), removal(two[1]!))).toContain('no-quorum refused');
  });

  test('of a learner counts for no majority, and of an unstarted member is how an addition is undone', () => {
    const members = [seen(1n), seen(2n, { learner: true }), seen(3n, { learner: true, is: 'unstarted' })];
    expect(verdicts(sightOf(members.slice(0, 2)), removal(members[1]!))).toEqual([]);
    expect(verdicts(sightOf([...THREE, members[2]!]), removal(members[2]!))).toEqual([]);
    expect(verdicts(sightOf([...THREE, seen(4n, { learner: true })]), removal(THREE[2]!))).toEqual([
      'change-under-way warned',
      'even-voters warned',
    ]);
  });

  test('of the corrupt member is the cure; of another one it is not', () => {
    const alarms = [{ type: 'CORRUPT', memberId: 3n }] as const;
    expect(one(sightOf(THREE, { alarms }), removal(THREE[2]!), 'corrupt-alarm').verdict).toBe('warned');
    expect(one(sightOf(THREE, { alarms }), removal(THREE[1]!), 'corrupt-alarm').verdict).toBe('refused');
  });

  test('etcd #20967: on 3.5 before 3.5.26 removed members may come back with 3.6', () => {
    const old = [seen(1n, { version: '3.5.25' }), seen(2n, { version: '3.5.26' }), seen(3n, { version: '3.5.9' })];
    expect(one(sightOf(old), removal(old[1]!), 'version-hazard')).toMatchObject({
      verdict: 'warned',
      message: expect.stringMatching(/^m1, m3: .*#20967/),
    });
  });

  test('leaves an odd number without a word', () => {
    const four = [...THREE, seen(4n)];
    expect(verdicts(sightOf(four), removal(four[3]!))).toEqual([]);
  });
});

describe('a promotion', () => {
  const learner = (part = {}): SeenMember => seen(3n, { learner: true, ...part });
  const withLearner = (member: SeenMember): MembershipSight => sightOf([seen(1n), seen(2n), member]);

  test('of a learner that has caught up goes', () => {
    expect(verdicts(withLearner(learner()), promotion(learner()))).toEqual([]);
    expect(one(withLearner(learner()), promotion(learner()), 'quorum-after').message).toBe('afterwards 3 of 3 voters answer, 2 are needed');
  });

  test.each([
    ['one that is far behind', { lag: 1_001n }, 'not-caught-up', 'm3 is 1001 raft entries behind'],
    ['one that knows no leader', { leader: 0n }, 'not-caught-up', 'm3 knows no leader'],
    ['one that does not answer', { is: 'down' }, 'not-started', 'm3 does not answer: m3 is down'],
    ['one that was never started', { is: 'unstarted' }, 'not-started', '3 has never been started'],
  ] as const)('of %s is refused', (_what, part, rule, message) => {
    const member = learner(part);
    expect(refusedBy(gatesFor(withLearner(member), promotion(member)))).toMatchObject([{ rule, message }]);
  });

  test('of a voter is refused as such, and as nothing else', () => {
    expect(verdicts(sightOf(THREE), promotion(THREE[1]!))).toEqual(['not-learner refused']);
  });

  test('etcd #19557: warns where it is not written to the database', () => {
    const member = learner({ version: '3.5.19' });
    expect(verdicts(sightOf([seen(1n, { version: '3.5.19' }), member]), promotion(member))).toEqual([
      'version-hazard warned',
      'even-voters warned',
    ]);
    expect(verdicts(sightOf([seen(1n, { version: '3.5.19' }), seen(2n), member]), promotion(member))).toEqual(['version-hazard warned']);
  });
});
