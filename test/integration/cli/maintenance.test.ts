/** The verbs of maintenance on real clusters, as somebody types them. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import type { Member } from '../../support/member.ts';
import { startGrpcProxy } from '../../support/grpc-proxy.ts';
import { until } from '../../support/processes.ts';
import { recordedOutput, type RecordedOutput } from '../../support/recorded-output.ts';
import { runWarden, startWarden } from '../../support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { encode } from '../../support/wire.ts';

const DEFRAGMENT = 'etcdserverpb.Maintenance/Defragment';
const MIB = 1024 * 1024;
/** Large enough for some garbage, small enough to be full in a moment. */
const QUOTA = 64 * MIB;

interface PlanJson {
  readonly outcome: string;
  readonly plan: {
    readonly noSpace: boolean;
    readonly steps: { action: string; members: string[]; predictedMs: number | null; leads: boolean | null }[];
    readonly refusals: { rule: string; member: string | null; hint: string | null }[];
    readonly gates: { rule: string; verdict: string }[];
  };
  readonly actions: {
    action: string;
    member: string | null;
    beforeBytes: number | null;
    afterBytes: number | null;
    revision: string | null;
  }[];
  readonly members: { name: string; quota: number; quotaSource: string; leader: boolean }[];
}

interface Ran extends RecordedOutput {
  readonly code: number;
  json(): PlanJson & { error: { code: string; message: string; hint: string } };
}

let folder: string;
let cluster: Cluster;
let single: Cluster;
beforeAll(async () => {
  folder = temporaryFolder('cli-maintenance');
  [cluster, single] = await Promise.all([
    startCluster({ minor: '3.6', members: 3, quotaBackendBytes: QUOTA }),
    startCluster({ minor: '3.6', members: 1 }),
  ]);
});
afterAll(async () => {
  await Promise.all([cluster[Symbol.asyncDispose](), single[Symbol.asyncDispose]()]);
  removeFolder(folder);
});

/** A line that somebody types: `ask` is what he answers; without it nobody sits there. */
async function warden(
  at: Cluster,
  words: readonly string[],
  options: { says?: boolean; asked?: string[]; width?: number } = {},
): Promise<Ran> {
  const { says, asked = [], width } = options;
  const output = recordedOutput(width === undefined ? {} : { width });
  const line = [
    ...words,
    '--endpoints',
    at.endpoints.join(','),
    '--state-dir',
    join(folder, at === single ? 'single' : 'state'),
    '--settle',
    '0s',
  ];
  const ask = (question: string): Promise<boolean> => {
    asked.push(question);
    return Promise.resolve(says === true);
  };
  const code = await runCli(line, { env: {}, output, ...(says === undefined ? {} : { ask }) });
  return { ...output, code, json: () => JSON.parse(output.printed.join('\n')) as ReturnType<Ran['json']> };
}

async function sizes(members: readonly Member[] = cluster.members): Promise<number[]> {
  return Promise.all(members.map(async (member) => (await member.status()).dbSize));
}

/** A third of the quota that nobody needs: keys that were written and deleted again. */
async function garbage(at: Cluster): Promise<void> {
  await at.fill({ keys: 2000, valueBytes: 10_000, prefix: '/garbage/', compressible: false });
  await at.etcdctl(['del', '--prefix', '/garbage/']);
}

// One story, in order: what is garbage for the first is gone for the next.
describe('three members', () => {
  test('compact: shown and refused without a terminal, done with --yes, and keeps the history that was asked for', async () => {
    await garbage(cluster);
    for (let count = 0; count < 120; count += 1)
      await cluster.members[0]!.rpc.call('etcdserverpb.KV/Put', encode([1, '/count'], [2, String(count)]));
    const refused = await warden(cluster, ['compact', '--keep', '100']);
    expect(refused).toMatchObject({ code: 14, printed: [] });
    expect(refused.said.join('\n')).toMatch(
      /STEP +ACTION[^]*1 +compact[^]*nobody is there to say yes\nhint: look at --dry-run, then add --yes/,
    );
    const { revision } = await cluster.members[0]!.status();
    const done = await warden(cluster, ['compact', '--keep', '100', '--yes', '--json']);
    expect(done.code).toBe(0);
    const [action] = done.json().actions;
    expect(action).toMatchObject({ action: 'compact', member: null });
    // Its own lock and record are revisions too.
    expect(BigInt(action!.revision!)).toBeGreaterThanOrEqual(revision - 100n);
    expect(BigInt(action!.revision!)).toBeLessThan(revision);
    const again = await warden(cluster, ['compact', '--keep', '1000']);
    expect(again.code).toBe(0);
    expect(again.printed.join('\n')).toMatch(/nothing to do\nleft alone \(keeps-everything\)/);
    const unknown = await warden(cluster, ['compact', '--keep', '1h', '--json']);
    expect({ code: unknown.code, rules: unknown.json().plan.refusals.map(({ rule }) => rule) }).toEqual({
      code: 14,
      rules: ['no-time-known'],
    });
  });

  test('defrag --dry-run prints the whole plan with every gate, followers first and the leader last, and does nothing', async () => {
    const before = await sizes();
    const leader = (await cluster.leader()).name;
    const { code, ...ran } = await warden(cluster, ['defrag', '--all', '--dry-run', '--json']);
    expect(code).toBe(0);
    const { plan, outcome, members } = ran.json();
    expect(outcome).toBe('planned');
    expect(plan.steps.map(({ action }) => action)).toEqual(['defrag', 'defrag', 'move-leader', 'defrag']);
    expect(plan.steps[3]).toMatchObject({ members: [leader], leads: false });
    for (const step of plan.steps) if (step.action === 'defrag') expect(step.predictedMs).toBeGreaterThan(0);
    expect(plan.gates.map(({ rule }) => rule)).toEqual(expect.arrayContaining(['corrupt-alarm', 'foreign-snapshot', 'member-lagging']));
    expect(members.map((member) => [member.quota, member.quotaSource])).toEqual(Array(3).fill([QUOTA, 'status']));
    const people = await warden(cluster, ['defrag', '--all', '--dry-run']);
    const narrow = await warden(cluster, ['defrag', '--all', '--dry-run'], { width: 40 });
    expect(
      narrow.printed
        .join('\n')
        .split('\n')
        .filter((line) => line.length > 40),
    ).toEqual([]);
    expect(people.printed.join('\n')).toMatch(/this would be done\nSTEP +ACTION +MEMBER +FREEZE +GAIN +WHY\n[^]*\nVERDICT +RULE/);
    expect(await sizes()).toEqual(before);
  });

  test('defrag by name, id and endpoint; the member alone shrinks; who is not there is named', async () => {
    const [follower] = await cluster.followers();
    const wanted = follower!.name;
    const { memberId } = await follower!.status();
    for (const called of [wanted, memberId.toString(16), follower!.endpoint]) {
      const { plan } = (await warden(cluster, ['defrag', '--member', called, '--dry-run', '--json'])).json();
      expect(plan.steps.map(({ action, members }) => [action, members])).toEqual([['defrag', [wanted]]]);
    }
    const stranger = await warden(cluster, ['defrag', '--member', 'm9', '--yes']);
    expect(stranger.code).toBe(2);
    expect(stranger.said.join('\n')).toMatch(/there is no member m9\nhint: members are: .*m1 \([0-9a-f]+\)/);

    const before = await sizes();
    const asked: string[] = [];
    const { code, printed, said } = await warden(cluster, ['defrag', '--member', wanted], { says: true, asked });
    expect({ code, asked }).toEqual({ code: 0, asked: [`defrag ${wanted}, freezing ${wanted}?`] });
    expect(said.join('\n')).not.toContain('accepts nothing');
    expect(printed.join('\n')).toMatch(
      /^ACTION +MEMBER +TOOK +PREDICTED +BEFORE +AFTER +RECLAIMED\ndefrag +m\d[^]*done; 1 member defragmented, .* given back$/,
    );
    const after = await sizes();
    const shrunk = after.map((size, index) => size < before[index]! / 2);
    expect(shrunk).toEqual(cluster.members.map((member) => member === follower));
  });

  test('defrag alone does what a threshold names', async () => {
    const nothing = await warden(cluster, ['defrag', '--yes']);
    expect(nothing.code).toBe(0);
    expect(nothing.printed.join('\n')).toContain('nothing to do');
    const { plan } = (await warden(cluster, ['defrag', '--dry-run', '--json', '--min-free', '5MiB', '--min-gain', '5MiB'])).json();
    // In the cooldown of the one that was done by hand only those two have too much free.
    expect(plan.steps.map(({ action }) => action)).toEqual(['defrag', 'move-leader', 'defrag']);
  });

  test('defrag --all --yes: every member, the leader after it has handed over', async () => {
    const leader = (await cluster.leader()).name;
    const done = await warden(cluster, ['defrag', '--all', '--yes', '--json']);
    expect(done.code).toBe(0);
    const actions = done.json().actions.filter(({ action }) => action === 'defrag');
    expect(new Set(actions.map(({ member }) => member))).toEqual(new Set(['m1', 'm2', 'm3']));
    expect(actions.at(-1)!.member).toBe(leader);
    expect((await cluster.leader()).name).not.toBe(leader);
    expect(Math.max(...(await sizes()))).toBeLessThan(5 * MIB);
  });

  test('status shows sizes with the quota, the last defragmentation, what is next and why not now', async () => {
    const { code, printed } = await warden(cluster, ['status', '--from', join(folder, 'nowhere')]);
    const text = printed.join('\n');
    expect(code).toBe(1); // there is no backup
    expect(text).toMatch(/^cluster default \([0-9a-f]+\): has quorum, leader m\d, term \d+, etcd 3\.6\.\d+\nMEMBER /);
    expect(text).toMatch(/^m1 .* 64\.0 MiB +\d+% .* ago +-$/m);
    expect(text).toContain('quota: as the members tell');
    expect(text).toMatch(/^compacted: to revision \d+ of \d+; last by etcd-warden \S+ ago, to \d+$/m);
    expect(text).toMatch(/^next: nothing is due$/m);
    expect(text).toMatch(/^forecast: /m);
  });

  test('without a file and a store, with the variables of etcdctl', async () => {
    const result = await runWarden(['defrag', '--dry-run', '--json'], { env: { ETCDCTL_ENDPOINTS: cluster.endpoints[0]! } });
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code: 0, stderr: '' });
    expect(
      result
        .json<PlanJson>()
        .members.map((member) => member.name)
        .toSorted(),
    ).toEqual(['m1', 'm2', 'm3']);
  });

  test('H12: out of space, disarm is refused while members are too full, and says what to do', async () => {
    await cluster.exhaustQuota();
    const { code, printed } = await warden(cluster, ['disarm', '--yes']);
    expect(code).toBe(14);
    expect(printed.join('\n')).toMatch(/REFUSED\nrefused \(above-threshold\): [^]*\nhint: /);
    expect((await cluster.alarms()).length).toBeGreaterThan(0);
  });

  test('H25: defrag --all --yes does the whole cure: compacts, defragments, disarms, and writes are accepted', async () => {
    await cluster.etcdctl(['del', '--prefix', '/quota/']);
    // A revision after it: what is kept at the revision of a compaction is what lived then.
    await cluster.etcdctl(['del', '/count']);
    const looked = await warden(cluster, ['defrag', '--all', '--dry-run', '--emergency-keep-revisions', '1']);
    expect(looked.printed.join('\n')).toMatch(/NOSPACE is armed; this would be done\n[^]* compact [^]* defrag [^]* disarm /);
    const cured = await warden(cluster, ['defrag', '--all', '--yes', '--emergency-keep-revisions', '1']);
    expect({ code: cured.code, printed: cured.printed.join('\n') }).toMatchObject({ code: 0 });
    expect(cured.printed.join('\n')).toMatch(/^compact [^]*^defrag [^]*^disarm [^]*: done; 3 members defragmented/m);
    expect(await cluster.alarms()).toEqual([]);
    expect(await cluster.etcdctl(['put', '/after', 'x'])).toContain('OK');
    // Nothing of ours is left but the record.
    expect(await cluster.etcdctl(['get', '--prefix', '/etcd-warden/', '--keys-only'])).toMatch(/^\/etcd-warden\/maintenance\/default\s*$/);
  });

  test('H26: out of space with a member down it compacts, refuses the rest and names the two ways out; --degraded is one', async () => {
    await cluster.exhaustQuota();
    await cluster.etcdctl(['del', '--prefix', '/quota/']);
    await cluster.etcdctl(['del', '/after']);
    const [down] = await cluster.followers();
    await down!.kill('SIGKILL');
    const cure = ['defrag', '--yes', '--emergency-keep-revisions', '1', '--dial-timeout', '1s', '--request-timeout', '2s'];
    const stopped = await warden(cluster, [...cure, '--all']);
    expect(stopped.code).toBe(14);
    expect(stopped.printed.join('\n')).toMatch(
      /^compact [^]*REFUSED\nrefused \(member-down\): [^]*member replace[^]*defrag --all --yes --degraded/m,
    );
    const before = await sizes(cluster.members.filter((member) => member !== down));
    const degraded = await warden(cluster, [...cure, '--degraded']);
    expect(degraded.said.join(' ').replaceAll('\n', ' ')).toContain('warning: the whole cluster accepts nothing');
    // Its size is not known, so nobody can say that writes may be let in again.
    expect(degraded.code).toBe(14);
    expect(degraded.printed.join('\n')).toMatch(/defrag [^]*defrag [^]*REFUSED; 2 members defragmented, /);
    const after = await sizes(cluster.members.filter((member) => member !== down));
    after.forEach((size, index) => expect(size).toBeLessThan(before[index]! / 2));
    expect((await cluster.alarms()).length).toBeGreaterThan(0);
    const { code } = await warden(cluster, ['status', '--from', join(folder, 'nowhere'), '--dial-timeout', '1s']);
    expect(code).toBe(1);
  });
});

describe('one member', () => {
  test('H26: is not frozen without --yes; whoever is asked reads that the cluster stops; with --yes it is done', async () => {
    await garbage(single);
    await warden(single, ['compact', '--keep', '1', '--yes']);
    const refused = await warden(single, ['defrag', '--all']);
    expect(refused.code).toBe(14);
    const asked: string[] = [];
    const no = await warden(single, ['defrag', '--all'], { says: false, asked });
    expect(no.code).toBe(14);
    expect(asked).toEqual([expect.stringContaining('THE WHOLE CLUSTER STOPS')]);
    expect(no.said.join(' ').replaceAll('\n', ' ')).toContain(
      'the whole cluster accepts nothing, neither writes nor reads nor lease renewals, for about',
    );
    const [before] = await sizes(single.members);
    expect((await warden(single, ['defrag', '--all', '--yes'])).code).toBe(0);
    expect((await sizes(single.members))[0]).toBeLessThan(before! / 2);
  });

  test('H12: disarm clears an alarm without cause once, and not again within the hour', async () => {
    expect((await warden(single, ['disarm', '--yes'])).printed.join('\n')).toMatch(/nothing to do\nleft alone \(not-armed\)/);
    await single.raiseAlarm('NOSPACE', single.members[0]!);
    expect((await warden(single, ['disarm', '--yes', '--json'])).json()).toMatchObject({
      outcome: 'done',
      actions: [{ action: 'disarm' }],
    });
    expect(await single.alarms()).toEqual([]);
    await single.raiseAlarm('NOSPACE', single.members[0]!);
    const again = await warden(single, ['disarm', '--yes', '--json']);
    expect({ code: again.code, rules: again.json().plan.refusals.map(({ rule }) => rule) }).toEqual({
      code: 14,
      rules: ['disarm-too-soon'],
    });
    await single.disarmAlarms();
  });

  test('H2: while a member is frozen nobody else gets the lock; interrupted, it ends at once with 130 and says so', async () => {
    const [member] = single.members;
    await using proxy = await startGrpcProxy(member!.endpoint);
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    proxy.intercept(DEFRAGMENT, { before: () => held });
    const line = ['defrag', '--all', '--yes', '--endpoints', proxy.endpoint, '--no-discover', '--settle', '0s'];
    const running = startWarden([...line, '--state-dir', join(folder, 'interrupted')]);
    await until(
      () => Promise.resolve(proxy.calls(DEFRAGMENT) === 1),
      () => running.stderr(),
    );
    const second = await warden(single, ['defrag', '--all', '--yes', '--json']);
    expect({ code: second.code, error: second.json().error.code }).toEqual({ code: 11, error: 'locked' });
    running.kill('SIGINT');
    const { code, stdout, stderr } = await running.done;
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(stderr).toMatch(/SIGINT: stopping cleanly[^]*error: .*while m1 was being defragmented: .*\nhint: /);
    release();
    // It is never asked a second time (H3), and nothing of ours is left that would keep the next one out.
    expect(proxy.calls(DEFRAGMENT)).toBe(1);
    await until(
      async () => (await warden(single, ['defrag', '--all', '--yes'])).code === 0,
      () => 'the lock is still held',
    );
  });

  test('H13: a learner is never defragmented', async () => {
    const learner = await single.addLearner();
    const asked = await warden(single, ['defrag', '--member', learner.endpoint, '--yes', '--json']);
    expect(asked.code).toBe(14);
    expect(asked.json().plan.refusals.map(({ rule }) => rule)).toContain('learner');
    const all = (await warden(single, ['defrag', '--all', '--dry-run', '--json'])).json();
    expect(all.plan.steps.map(({ members }) => members)).toEqual([['m1']]);
  });

  test('H12: CORRUPT stops everything, and status shouts', async () => {
    await single.raiseAlarm('NOSPACE', single.members[0]!);
    await single.raiseAlarm('CORRUPT', single.members[0]!);
    for (const words of [['defrag', '--all'], ['compact', '--keep', '1'], ['disarm']]) {
      const { code, printed } = await warden(single, [...words, '--yes']);
      expect({ words, code, printed: printed.join('\n') }).toMatchObject({
        code: 14,
        printed: expect.stringContaining('corrupt-alarm') as string,
      });
    }
    const { printed } = await warden(single, ['status', '--from', join(folder, 'nowhere')]);
    expect(printed.join('\n')).toMatch(/^CORRUPT: /);
    expect((await single.alarms()).map(({ type }) => type)).toContain('CORRUPT');
  });
});
