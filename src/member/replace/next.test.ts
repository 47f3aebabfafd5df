import { describe, expect, test } from 'vitest';
import { symptomsOf, symptomsOfLog, type Evidence } from './diagnose.ts';
import { replaceGates, waysOut } from './gates.ts';
import type { StartConfig } from './manifest/start-config.ts';
import { nextStep } from './next.ts';
import { rancherProcedure } from './rancher.ts';
import { labelOf, nameOf, subjectOf, validNote } from './subject.ts';
import type { ClusterSight, DataSight, ReplaceNote, ReplaceState, SeenMember } from './types.ts';
import { joiningFor } from './versions.ts';
import { plannedSteps, startText } from './words.ts';

const CLUSTER = 0xc1n;

function member(number: number, changes: Partial<SeenMember> = {}): SeenMember {
  return {
    id: BigInt(number),
    name: `m${number}`,
    peerUrls: [`http://p${number}:2380`],
    clientUrls: [`http://c${number}:2379`],
    learner: false,
    started: true,
    reachable: true,
    answers: true,
    leads: number === 1,
    lag: 0n,
    version: '3.6.16',
    dbSize: 1,
    endpoint: `http://c${number}:2379`,
    error: undefined,
    ...changes,
  };
}

const down = (number: number): SeenMember =>
  member(number, { reachable: false, answers: false, lag: undefined, version: undefined, endpoint: undefined, error: 'refused' });
/** As the list has it right after its addition, in the place of m3. */
const added = (changes: Partial<SeenMember> = {}): SeenMember =>
  member(13, {
    name: '',
    peerUrls: ['http://p3:2380'],
    clientUrls: [],
    learner: true,
    started: false,
    reachable: false,
    answers: false,
    ...changes,
  });
const NOTE: ReplaceNote = {
  name: 'm3',
  clusterId: CLUSTER,
  oldId: 3n,
  peerUrls: ['http://p3:2380'],
  clientUrls: ['http://c3:2379'],
  learner: false,
  since: '2026-11-23T00:00:00.000Z',
};
const DATA: DataSight = {
  dataDir: '/data',
  walDir: undefined,
  exists: true,
  data: 'none',
  identity: undefined,
  inUse: false,
  damage: [],
};

function state(members: readonly SeenMember[], changes: Partial<ReplaceState> & { cluster?: Partial<ClusterSight> } = {}): ReplaceState {
  return {
    name: 'm3',
    note: undefined,
    peerUrls: undefined,
    data: undefined,
    process: { peerPort: 'silent', managed: undefined },
    dataMoved: false,
    checked: false,
    ...changes,
    cluster: { clusterId: CLUSTER, quorum: true, members, strays: [], alarms: [], ...changes.cluster },
  };
}

const TWO = [member(1), member(2)];
const known = (memberId: bigint, clusterId = CLUSTER): DataSight => ({
  ...DATA,
  data: 'present',
  identity: { kind: 'known', memberId, clusterId },
});

describe('the next step', () => {
  const noted = (members: readonly SeenMember[], changes: Partial<ReplaceState> = {}): string | undefined =>
    nextStep(state(members, { note: NOTE, ...changes }))?.kind;

  test('is the removal of what is listed, and of a leader only after it has handed over', () => {
    expect(nextStep(state([...TWO, down(3)]))).toMatchObject({ kind: 'remove', member: { id: 3n } });
    const leading = [member(1, { leads: false, lag: 9n }), member(2), member(3, { leads: true })];
    expect(nextStep(state(leading))).toMatchObject({ kind: 'move-leader', from: { id: 3n }, to: { id: 2n } });
    // Nobody could take over: the gates tell that, and a removal ends its lead as well.
    expect(nextStep(state([down(1), down(2), member(3, { leads: true })]))?.kind).toBe('remove');
  });

  test('is nothing for a member that nobody knows', () => {
    expect(nextStep(state(TWO, { name: 'm9' }))).toBeUndefined();
  });

  test('stops what still runs before old data moves, and adds the member only then', () => {
    const open = { peerPort: 'open', managed: undefined } as const;
    expect(noted(TWO, { data: known(3n), process: open })).toBe('stop');
    expect(noted(TWO, { data: { ...known(3n), inUse: true } })).toBe('stop');
    expect(noted(TWO, { data: DATA, process: { peerPort: 'silent', managed: 'running' } })).toBe('stop');
    expect(noted(TWO, { data: known(3n) })).toBe('move-data');
    expect(noted(TWO, { data: DATA })).toBe('add');
  });

  test('on another machine rests on what can be seen from here, and on somebody who says so', () => {
    expect(noted(TWO, { process: { peerPort: 'open', managed: undefined } })).toBe('stop');
    expect(noted(TWO)).toBe('move-data');
    expect(noted(TWO, { process: { peerPort: 'unknown', managed: undefined } })).toBe('move-data');
    expect(noted(TWO, { dataMoved: true })).toBe('add');
  });

  test('adds at the addresses that the note, or somebody, tells', () => {
    expect(nextStep(state(TWO, { note: NOTE, dataMoved: true }))).toMatchObject({
      kind: 'add',
      peerUrls: ['http://p3:2380'],
      as: 'learner',
    });
    expect(nextStep(state(TWO, { peerUrls: ['http://new:2380'], dataMoved: true }))).toMatchObject({ peerUrls: ['http://new:2380'] });
  });

  test('of what was added is its start, unless old data or another cluster is in its place', () => {
    const list = [...TWO, added()];
    expect(noted(list)).toBe('start');
    expect(noted(list, { data: DATA })).toBe('start');
    expect(noted(list, { data: known(13n) })).toBe('start');
    expect(noted(list, { data: known(3n) })).toBe('move-data');
    expect(noted(list, { data: known(13n, 0xc2n) })).toBe('move-data');
    expect(noted(list, { data: known(3n), process: { peerPort: 'open', managed: undefined } })).toBe('stop');
    const unreadable: DataSight = { ...DATA, data: 'present', identity: { kind: 'unknown', reason: 'cut' } };
    expect(noted(list, { data: unreadable })).toBe('move-data');
    // It may have begun just now.
    expect(noted(list, { data: { ...unreadable, inUse: true } })).toBe('start');
    const strays = [{ endpoint: 'http://c3:2379', clusterId: 0xc2n, memberId: 9n }];
    expect(nextStep(state(list, { note: NOTE, cluster: { strays } as Partial<ClusterSight> as ClusterSight }))?.kind).toBe('stop');
  });

  test('is found without a note by the addresses that were given', () => {
    expect(nextStep(state([...TWO, added()], { peerUrls: ['http://p3:2380'] }))?.kind).toBe('start');
    const learner = member(13, { name: 'm3', peerUrls: ['http://p3:2380'], learner: true });
    expect(nextStep(state([...TWO, learner], { peerUrls: ['http://p3:2380'] }))?.kind).toBe('promote');
    // Without either, it is a member like any other.
    expect(nextStep(state([...TWO, learner]))?.kind).toBe('remove');
  });

  test('after its start is to catch up, to vote, to be compared, and then nothing', () => {
    const fresh = (changes: Partial<SeenMember>): SeenMember =>
      added({ name: 'm3', started: true, reachable: true, answers: true, ...changes });
    expect(noted([...TWO, fresh({ lag: 5_000n })])).toBe('catch-up');
    expect(noted([...TWO, fresh({ reachable: false, lag: undefined })])).toBe('catch-up');
    expect(noted([...TWO, fresh({ answers: false })])).toBe('catch-up');
    expect(noted([...TWO, fresh({ lag: 5n })])).toBe('promote');
    expect(noted([...TWO, fresh({ learner: false })])).toBe('check');
    expect(noted([...TWO, fresh({ learner: false })], { checked: true })).toBe('done');
    expect(nextStep(state([...TWO, fresh({})], { note: { ...NOTE, learner: true } }))?.kind).toBe('check');
  });
});

describe('a note', () => {
  const at = Date.parse('2026-11-23T01:00:00Z');
  test('counts for its cluster and its member, and for a week', () => {
    expect(validNote(NOTE, 'm3', CLUSTER, at)).toBe(NOTE);
    expect(validNote(NOTE, '3', CLUSTER, at)).toBe(NOTE);
    expect(validNote(NOTE, 'm2', CLUSTER, at)).toBeUndefined();
    expect(validNote(NOTE, 'm3', 0xc2n, at)).toBeUndefined();
    expect(validNote(NOTE, 'm3', CLUSTER, at + 8 * 86_400_000)).toBeUndefined();
    expect(validNote(undefined, 'm3', CLUSTER, at)).toBeUndefined();
  });

  test('tells the name of what was given by id', () => {
    expect(nameOf(state(TWO, { name: '3', note: NOTE }))).toBe('m3');
    expect(nameOf(state([...TWO, down(3)], { name: '3' }))).toBe('m3');
    expect(nameOf(state(TWO, { name: 'm9' }))).toBe('m9');
    expect(labelOf(added())).toBe('d');
    expect(subjectOf(state([...TWO, down(3)], { name: '3' })).old?.id).toBe(3n);
  });
});

describe('as whom it comes back', () => {
  test.each([
    [['3.6.16', '3.6.16'], 2, 'learner'],
    [['3.5.19', '3.5.35'], 2, 'voter'],
    [['3.5.19'], 1, 'learner'],
    [['3.5.0', '3.5.20'], 2, 'learner'],
    [['3.6.3'], 2, 'voter'],
    [['3.6.4', '3.7.3'], 2, 'learner'],
    [['3.4.15'], 2, 'learner'],
    [['3.4.15'], 1, 'voter'],
    [['3.4.23'], 1, 'learner'],
    [['not a version'], 1, 'learner'],
  ] as const)('beside members of %j, %i of them voters, is a %s', (versions, left, as) => {
    const joining = joiningFor(versions, left);
    expect(joining.as).toBe(as);
    // Where a bug is gone around by another danger, that is told.
    expect(joining.warning !== undefined).toBe(left === 1 && /^3\.(5\.19|4\.15)/.test(versions[0]));
  });
});

describe('the rules', () => {
  const EVIDENCE: Evidence = { cluster: state(TWO).cluster, data: undefined, log: [], differing: undefined, managed: undefined };
  function refusals(one: ReplaceState, options: { healthy?: boolean; degraded?: boolean; evidence?: Partial<Evidence> } = {}): string[] {
    const evidence = { ...EVIDENCE, cluster: one.cluster, data: one.data, ...options.evidence };
    return replaceGates(one, { healthy: options.healthy ?? false, degraded: options.degraded ?? false, evidence, clusterName: 'main' })
      .filter(({ verdict }) => verdict === 'refused')
      .map(({ rule }) => rule);
  }

  const unit = (name: string | undefined, initialCluster = 'm1=http://p1:2380,m2=http://p2:2380,m3=http://p3:2380'): StartConfig => ({
    where: 'etcd.service',
    name,
    initialCluster,
    initialClusterState: 'new',
  });

  test('warn of an initial-cluster that is not the list of members, and of nothing that is changed here', () => {
    const verdict = (managed: StartConfig, one = state([...TWO, down(3)])): string | undefined =>
      replaceGates(one, {
        healthy: false,
        degraded: false,
        evidence: { ...EVIDENCE, cluster: one.cluster, managed },
        clusterName: 'main',
      }).find(({ rule }) => rule === 'start-settings')?.verdict;
    expect(verdict(unit('m3'))).toBe('passed');
    expect(verdict(unit(undefined, 'm3=http://p3:2380'))).toBe('warned');
    expect(verdict(unit('m3'), state(TWO, { note: NOTE }))).toBe('passed');
    expect(verdict(unit('m9'), state(TWO, { name: 'm9' }))).toBeUndefined();
  });

  test('let one broken member of three go, and a healthy one only on request', () => {
    expect(refusals(state([...TWO, down(3)]))).toEqual([]);
    expect(refusals(state([...TWO, member(3)]))).toEqual(['not-broken']);
    expect(refusals(state([...TWO, member(3)]), { healthy: true })).toEqual([]);
  });

  test('warn when nothing but silence speaks against it: it may only be stopped', () => {
    const verdict = (one: ReplaceState): string | undefined =>
      replaceGates(one, {
        healthy: false,
        degraded: false,
        evidence: { ...EVIDENCE, cluster: one.cluster, data: one.data },
        clusterName: 'main',
      }).find(({ rule }) => rule === 'not-broken')?.verdict;
    expect(verdict(state([...TWO, down(3)]))).toBe('warned');
    expect(verdict(state([...TWO, down(3)], { data: DATA }))).toBe('passed');
  });

  test('refuse what would lose the majority, or has lost it', () => {
    expect(refusals(state([member(1), down(2), down(3)], { cluster: { quorum: false } as ClusterSight }))).toEqual([
      'no-quorum',
      'member-down',
      'quorum-after',
    ]);
    expect(refusals(state([member(3)], {}), { healthy: true })).toEqual(['quorum-after']);
    expect(waysOut('prod')).toMatch(/restore --latest --plan --cluster prod.*--force-new-cluster/);
  });

  test('refuse a second broken member, and let one of five go on request', () => {
    const five = [member(1), member(2), member(4), down(5), down(3)];
    expect(refusals(state(five))).toEqual(['member-down']);
    expect(refusals(state(five), { degraded: true })).toEqual([]);
    expect(refusals(state([member(1), member(2), down(4), down(5), down(3)]), { degraded: true })).toEqual(['quorum-after']);
  });

  test('refuse while another change is under way', () => {
    expect(refusals(state([...TWO, down(3), added({ peerUrls: ['http://p4:2380'] })]))).toEqual(['change-under-way']);
    expect(refusals(state([...TWO, down(3), member(4, { learner: true })]))).toEqual(['change-under-way']);
    // What was added in its place is no other one.
    expect(refusals(state([...TWO, added()], { note: NOTE }))).toEqual([]);
  });

  test('refuse a name that is nobody, or several', () => {
    expect(refusals(state(TWO, { name: 'm9' }))).toEqual(['unknown-member']);
    expect(refusals(state([...TWO, down(3), { ...member(4), name: 'm3' }]))).toContain('name-ambiguous');
  });

  test('refuse while another one is the corrupt one, by its alarm or by the hashes', () => {
    const alarm = (memberId: bigint): Partial<ReplaceState> => ({
      cluster: { alarms: [{ type: 'CORRUPT', memberId }] } as Partial<ClusterSight> as ClusterSight,
    });
    expect(refusals(state([...TWO, member(3)], alarm(2n)))).toEqual(['not-broken', 'corrupt-elsewhere']);
    expect(refusals(state([...TWO, member(3)], alarm(3n)))).toEqual([]);
    expect(refusals(state([...TWO, member(3)], alarm(0n)), { evidence: { differing: [3n] } })).toEqual([]);
    expect(refusals(state([...TWO, member(3)], alarm(3n)), { evidence: { differing: [2n] } })).toEqual(['corrupt-elsewhere']);
  });

  test('refuse the data directory, the unit or the static pod of another member', () => {
    expect(refusals(state([...TWO, down(3)], { data: known(2n) }))).toEqual(['wrong-data']);
    expect(refusals(state([...TWO, down(3)], { data: known(3n) }))).toEqual([]);
    // The same id in another cluster is somebody else.
    expect(refusals(state([...TWO, down(3)], { data: known(2n, 0xc2n) }))).toEqual([]);
    expect(refusals(state([...TWO, down(3)]), { evidence: { managed: unit('m2') } })).toEqual(['wrong-data']);
    expect(refusals(state([...TWO, down(3)]), { evidence: { managed: unit('m3') } })).toEqual([]);
  });
});

describe('the diagnosis', () => {
  const find = (one: SeenMember, evidence: Partial<Evidence>, cluster: Partial<ClusterSight> = {}): string[] =>
    symptomsOf(one, {
      cluster: { ...state(TWO).cluster, ...cluster },
      data: undefined,
      log: [],
      differing: undefined,
      managed: undefined,
      ...evidence,
    }).map(({ code }) => code);

  test('tells a member that is down from one that runs and takes part in nothing, and from another cluster', () => {
    expect(find(member(3), {})).toEqual([]);
    expect(find(down(3), {})).toEqual(['down']);
    expect(find(member(3, { answers: false }), {})).toEqual(['not-answering']);
    const strays = [{ endpoint: 'http://c3:2379', clusterId: 0xc2n, memberId: 9n }];
    expect(find(down(3), {}, { strays })).toEqual(['other-cluster']);
    expect(find(down(3), { data: known(3n, 0xc2n) })).toEqual(['down', 'other-cluster']);
  });

  test('tells what its files show', () => {
    expect(find(down(3), { data: DATA })).toEqual(['down', 'disk-gone']);
    expect(find(down(3), { data: { ...DATA, exists: false } })).toEqual(['down', 'disk-gone']);
    expect(find(down(3), { data: { ...known(3n), damage: ['gone'] } })).toEqual(['down', 'damaged-db']);
  });

  test('believes a log of damage only of a member that does not run', () => {
    const log = [{ code: 'damaged-wal', message: 'x' }] as const;
    expect(find(down(3), { log })).toEqual(['down', 'damaged-wal']);
    expect(find(member(3), { log })).toEqual([]);
  });

  test('tells what alarm and hashes say, each once', () => {
    const alarms = [{ type: 'CORRUPT', memberId: 3n }] as const;
    expect(find(member(3), { log: [{ code: 'corrupt', message: 'x' }], differing: [3n] }, { alarms })).toEqual([
      'corrupt',
      'different-data',
    ]);
    expect(find(member(3), { differing: [2n] }, { alarms: [{ type: 'CORRUPT', memberId: 2n }] })).toEqual([]);
  });

  test.each([
    ['cluster-id-mismatch', '{"level":"error","msg":"request cluster ID mismatch","local-member-cluster-id":"a"}'],
    ['cluster-id-mismatch', 'rafthttp: request sent was ignored (cluster ID mismatch: peer[x]=a, local=b)'],
    [
      'snapshot-db',
      '{"msg":"failed to recover v3 backend from snapshot","error":"failed to find database snapshot file (snap: snapshot file doesn\'t exist)"}',
    ],
    [
      'snapshot-db',
      "etcdserver: recovering backend from snapshot error: database snapshot file path error: snap: snapshot file doesn't exist",
    ],
    ['damaged-wal', '{"level":"fatal","msg":"failed to read WAL, cannot be repaired","error":"wal: max entry size limit exceeded"}'],
    ['damaged-wal', 'walpb: crc mismatch'],
    ['damaged-db', '{"level":"panic","msg":"failed to open database","path":"/db","error":"invalid database"}'],
    ['damaged-db', 'panic: freepages: failed to get all reachable pages (page 6987: multiple references)'],
    ['removed', '{"msg":"server error","error":"the member has been permanently removed from the cluster"}'],
    ['corrupt', 'etcdserver: alarm:CORRUPT raised'],
  ])('reads %s in the log', (code, line) => {
    expect(symptomsOfLog([line, line, 'nothing of note']).map((one) => one.code)).toEqual([code]);
    // What was before its last start may be mended.
    expect(symptomsOfLog([line, '{"msg":"etcd Version: 3.6.16"}', '{"msg":"serving"}'])).toEqual([]);
  });
});

describe('the plan in words', () => {
  const setting = { endpoints: ['http://c1:2379'], manager: undefined, dataDir: undefined };

  test('says what this does and what the operator does, with the commands', () => {
    const steps = plannedSteps(state([...TWO, down(3)]), setting);
    expect(steps.map(({ step, by }) => `${step} ${by}`)).toEqual([
      'remove etcd-warden',
      'stop operator',
      'move-data operator',
      'add etcd-warden',
      'start operator',
      'catch-up etcd-warden',
      'promote etcd-warden',
      'check etcd-warden',
    ]);
    expect(steps[0]!.command).toBe('etcdctl --endpoints=http://c1:2379 member remove 3');
    expect(steps[3]!.command).toBe('etcdctl --endpoints=http://c1:2379 member add m3 --learner --peer-urls=http://p3:2380');
    const managed = {
      ...setting,
      dataDir: '/data',
      manager: { name: 'etcd.service', stop: 'systemctl stop etcd.service', start: 'systemctl start etcd.service' },
    };
    expect(plannedSteps(state([...TWO, down(3)], { data: DATA }), managed).every(({ by }) => by === 'etcd-warden')).toBe(true);
  });

  test('begins where the cluster is, and leaves out what does not come', () => {
    const kinds = (one: ReplaceState): string[] => plannedSteps(one, setting).map(({ step }) => step);
    expect(kinds(state([...TWO, added()], { note: NOTE }))).toEqual(['start', 'catch-up', 'promote', 'check']);
    const old = [member(1, { version: '3.5.10' }), member(2)];
    expect(kinds(state(old, { note: NOTE, dataMoved: true }))).toEqual(['add', 'start', 'catch-up', 'check']);
    expect(kinds(state([...TWO, member(3, { leads: true })]))[0]).toBe('move-leader');
    expect(kinds(state(TWO, { name: 'm9' }))).toEqual([]);
  });

  test('prints settings to be pasted, a line each', () => {
    const text = startText({ name: 'm3', initialCluster: 'm3=u', peerUrls: ['u'], environment: { ETCD_NAME: 'm3' }, flags: ['--name=m3'] });
    expect(text).toContain('\nETCD_NAME="m3"\n');
    expect(text).toContain('\n  --name=m3');
  });

  test('for RKE2 and k3s names their own procedure, and no addition', () => {
    for (const platform of ['rke2', 'k3s'] as const) {
      const text = rancherProcedure(platform, 'node-a-1a2b3c4d');
      expect(text).toContain('kubectl delete node node-a\n');
      expect(text).not.toContain('member add');
    }
    expect(rancherProcedure('rke2', 'n')).toContain('rke2-killall.sh');
  });
});
