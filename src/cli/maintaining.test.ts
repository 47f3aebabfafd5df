import { describe, expect, test } from 'vitest';
import { defragOf, memberState, NOW_MS, planOf, roundOf, sightOf } from '../../test/support/plans.ts';
import { recordedOutput, type RecordedOutput } from '../../test/support/recorded-output.ts';
import { loadConfig } from '../config/load.ts';
import { WardenError } from '../errors.ts';
import type { MaintainRequest } from '../jobs/types.ts';
import type { Plan } from '../maintenance/planner/types.ts';
import type { RoundResult, Sight } from '../maintenance/types.ts';
import { silentLogger } from '../telemetry/logger.ts';
import { maintainByHand, type HandWish, type MaintenanceJobs } from './maintaining.ts';
import { run as compact } from './verbs/compact.ts';
import { run as defrag } from './verbs/defrag.ts';
import type { Answer, Invocation } from './verb.ts';

const WISH: HandWish = { kind: 'defrag', members: 'all', worthwhile: false, degraded: false, yes: true };

interface Case {
  readonly plan?: Plan;
  readonly sight?: Sight;
  readonly round?: RoundResult | ((request: MaintainRequest, invocation: Invocation) => Promise<RoundResult>);
  readonly options?: Readonly<Record<string, unknown>>;
  /** What is answered; nobody sits there without. */
  readonly says?: boolean | WardenError;
  readonly json?: boolean;
  readonly signal?: AbortSignal;
}

interface Ran {
  readonly answer: Answer | WardenError;
  readonly output: RecordedOutput;
  readonly asked: string[];
  readonly maintained: MaintainRequest[];
}

async function ran(given: Case, wish: HandWish = WISH): Promise<Ran> {
  const output = recordedOutput();
  const asked: string[] = [];
  const maintained: MaintainRequest[] = [];
  const loaded = loadConfig({ flags: {}, env: { HOME: '/home/somebody' }, uses: ['etcd'] });
  const invocation: Invocation = {
    arguments: [],
    options: given.options ?? {},
    loaded,
    output,
    json: given.json === true,
    ask:
      given.says === undefined
        ? undefined
        : (question) => {
            asked.push(question);
            return given.says instanceof WardenError ? Promise.reject(given.says) : Promise.resolve(given.says === true);
          },
    context: {
      config: loaded.config,
      logger: silentLogger,
      signal: given.signal ?? new AbortController().signal,
      progress: () => undefined,
      now: () => new Date(NOW_MS),
    },
  };
  const jobs: MaintenanceJobs = {
    preview: () => Promise.resolve({ sight: given.sight ?? sightOf(['m1', 'm2', 'm3']), plan: given.plan ?? planOf([defragOf('m2')]) }),
    maintain: (request, context) => {
      maintained.push(request);
      const round = given.round ?? roundOf('done');
      return typeof round === 'function' ? round(request, { ...invocation, context }) : Promise.resolve(round);
    },
  };
  const answer = await maintainByHand(invocation, wish, jobs).catch((error: unknown) => {
    if (error instanceof WardenError) return error;
    throw error;
  });
  return { answer, output, asked, maintained };
}

describe('before anything is done', () => {
  test('the plan is shown and somebody is asked; only yes does it', async () => {
    const yes = await ran({ says: true });
    expect(yes.output.said.join('\n')).toMatch(/STEP +ACTION +MEMBER +FREEZE +GAIN +WHY\n +1 +defrag +m2 +~1\.6s +600 MiB/);
    expect(yes.asked).toEqual(['defrag m2, freezing m2?']);
    expect(yes.maintained).toEqual([{ cluster: 'default', wish: WISH, elected: false }]);
    const no = await ran({ says: false });
    expect(no.answer).toMatchObject({ code: 'refused', message: 'nobody said yes; nothing was done' });
    expect(no.maintained).toEqual([]);
  });

  test('without a terminal it is refused with the hint, and with --json although there is one', async () => {
    for (const given of [{}, { says: true, json: true }]) {
      const { answer, maintained, asked } = await ran(given);
      expect(answer).toMatchObject({ code: 'refused', hint: 'look at --dry-run, then add --yes' });
      expect({ maintained, asked }).toEqual({ maintained: [], asked: [] });
    }
  });

  test('--yes asks nobody; the plan is still told, unless --quiet', async () => {
    const told = await ran({ options: { yes: true }, says: false });
    expect(told).toMatchObject({ asked: [], answer: { exitCode: 0 } });
    expect(told.output.said.join('\n')).toContain('defrag');
    expect((await ran({ options: { yes: true, quiet: true } })).output.said).toEqual([]);
  });

  test('H26: whoever freezes the only voter is told that the cluster stops, for how long, before he is asked', async () => {
    const { output, asked } = await ran({ sight: sightOf(['m1']), plan: planOf([defragOf('m1', { leads: true })]), says: true });
    // Wrapped where the terminal ends.
    expect(output.said.join('\n').replaceAll('\n', ' ')).toContain(
      'warning: the whole cluster accepts nothing, neither writes nor reads nor lease renewals, for about 1.6s (m1): it has one voter',
    );
    expect(asked).toEqual(['THE WHOLE CLUSTER STOPS meanwhile, as said above. defrag m1, freezing m1?']);
  });

  test('H26: two voters count as one, and the refusal without a terminal says it too', async () => {
    const { answer } = await ran({ sight: sightOf(['m1', 'm2']), plan: planOf([defragOf('m2'), defragOf('m1')]) });
    expect((answer as WardenError).message).toBe(
      'defrag m2 and 1 more step would be done, and the whole cluster accepts nothing, neither writes nor reads nor lease renewals, ' +
        'for about 1.6s (m2), then about 1.6s (m1): 2 of its 2 voters answer, and it needs 2; nobody is there to say yes',
    );
  });

  test('H26: with a voter down, freezing one of the other two stops the cluster', async () => {
    const sight = sightOf(['m1', 'm2', 'm3']);
    const members = sight.state.members.map((member) => (member.name === 'm3' ? memberState('m3', { reachable: false }) : member));
    const { output } = await ran({ sight: { ...sight, state: { ...sight.state, members } }, says: true });
    expect(output.said.join('\n').replaceAll('\n', ' ')).toContain('2 of its 3 voters answer, and it needs 2');
  });

  test('H1: a leader that has to be frozen stops the writes', async () => {
    const { output } = await ran({ plan: planOf([defragOf('m1', { leads: true })]), says: true });
    expect(output.said.join('\n')).toContain('the leader is frozen, because no other voter could lead');
  });

  test('out of space, whatever is not the cure says which command is', async () => {
    const sight = sightOf(['m1', 'm2', 'm3'], { alarms: [{ type: 'NOSPACE', memberId: '2a' }] });
    const text = async (given: Case, wish: HandWish): Promise<string> => ((await ran({ ...given, sight }, wish)).answer as Answer).text;
    const told = 'warning: NOSPACE is armed: the cluster accepts no writes, and this does not change it\nhint: `etcd-warden defrag --all`';
    const worthwhile: HandWish = { kind: 'defrag', members: 'all', worthwhile: true, degraded: false, yes: true };
    for (const wish of [worthwhile, { ...worthwhile, members: ['m1'], worthwhile: false }, { kind: 'compact', yes: true } as const]) {
      expect(await text({ plan: planOf([]) }, wish)).toContain(told);
      expect(await text({ plan: planOf([]), options: { dryRun: true } }, wish)).toContain(told);
      expect(await text({ options: { yes: true } }, wish)).toContain(told);
    }
    expect(await text({ plan: planOf([]) }, WISH)).not.toContain(told);
  });

  test('a cure that will not end with the alarm disarmed says so before anybody is frozen', async () => {
    const sight = sightOf(['m1', 'm2', 'm3'], { alarms: [{ type: 'NOSPACE', memberId: '2a' }] });
    const told = 'warning: this does not end with NOSPACE disarmed';
    const half = planOf([defragOf('m2')]);
    expect((await ran({ sight, plan: half, says: true })).output.said.join('\n')).toContain(told);
    expect(((await ran({ sight, plan: half, options: { dryRun: true } })).answer as Answer).text).toContain(told);
    const whole = planOf([defragOf('m2'), { kind: 'disarm', members: ['2a'], orphans: false, why: 'every member is below 80 %' }]);
    expect((await ran({ sight, plan: whole, says: true })).output.said.join('\n')).not.toContain(told);
    expect((await ran({ plan: half, says: true })).output.said.join('\n')).not.toContain(told);
  });

  test('--degraded says that it means nothing while NOSPACE is not armed', async () => {
    const degraded: HandWish = { kind: 'defrag', members: 'all', worthwhile: false, degraded: true, yes: true };
    const told = 'note: --degraded changes nothing here';
    expect((await ran({ says: true }, degraded)).output.said.join('\n')).toContain(told);
    expect(((await ran({ options: { dryRun: true } }, degraded)).answer as Answer).text).toContain(told);
    const sight = sightOf(['m1', 'm2', 'm3'], { alarms: [{ type: 'NOSPACE', memberId: '2a' }] });
    expect((await ran({ sight, says: true }, degraded)).output.said.join('\n')).not.toContain(told);
  });

  test('H10: whoever keeps next to nothing is told whom it breaks', async () => {
    const plan = planOf([{ kind: 'compact', revision: '4000', why: 'asked' }]);
    const told = async (revisions: number): Promise<string> =>
      (await ran({ plan, says: true }, { kind: 'compact', keep: { revisions }, yes: true })).output.said.join(' ').replaceAll('\n', ' ');
    expect(await told(999)).toContain('lists that are being paged through and watches that are behind have to start anew');
    expect(await told(1000)).not.toContain('start anew');
  });

  test('whoever is interrupted while he is asked is told that nothing was begun', async () => {
    const stopped = new WardenError('interrupted', 'stopped by SIGINT', { hint: 'of a backup' });
    const { answer, maintained } = await ran({ says: stopped, signal: AbortSignal.abort(stopped) });
    expect(answer).toMatchObject({ code: 'interrupted', message: 'stopped by SIGINT; no further step was begun' });
    expect(maintained).toEqual([]);
  });

  test('an alarm that was just disarmed is not said to be left alone', async () => {
    const disarmed = planOf([], {
      refusals: [{ rule: 'not-armed', member: undefined, message: 'no NOSPACE alarm is armed' }],
    });
    const text = async (round: RoundResult): Promise<string> => ((await ran({ round, options: { yes: true } })).answer as Answer).text;
    expect(await text({ ...roundOf('done'), plan: disarmed })).not.toContain('left alone');
    expect(await text({ ...roundOf('nothing'), plan: disarmed })).toContain('left alone (not-armed)');
  });

  test('nothing to do is 0 and asks nobody; a refusal is 14, a lock elsewhere 11, each with its hint', async () => {
    const nothing = await ran({ plan: planOf([]) });
    expect(nothing.answer).toMatchObject({ exitCode: 0, json: { outcome: 'nothing', actions: [] } });
    expect((nothing.answer as Answer).text).toBe('cluster default: nothing to do\nleft alone (not-needed): no threshold is crossed');
    const refusal = { rule: 'member-down' as const, member: 'm3', message: 'm3 does not answer', hint: 'replace it, or --degraded' };
    const down = await ran({ plan: planOf([], { complete: false, refusals: [refusal, { ...refusal, rule: 'no-quorum', member: 'm2' }] }) });
    expect((down.answer as Answer).exitCode).toBe(14);
    expect((down.answer as Answer).text.split('\n')).toEqual([
      'cluster default: REFUSED',
      'refused (member-down): m3 does not answer',
      'hint: replace it, or --degraded',
      'refused (no-quorum): m2: m3 does not answer',
    ]);
    const many = ['m10', 'm2'].map((member) => ({ ...refusal, rule: 'member-slow' as const, member, message: `${member} is slow` }));
    const sorted = await ran({ plan: planOf([], { complete: false, refusals: [many[0]!, refusal, many[1]!] }) });
    expect((sorted.answer as Answer).text.match(/m\d+ (is slow|does)/g)).toEqual(['m2 is slow', 'm10 is slow', 'm3 does']);
    const locked = await ran({ plan: planOf([], { complete: false, refusals: [{ ...refusal, rule: 'lock-elsewhere' }] }) });
    expect((locked.answer as Answer).exitCode).toBe(11);
  });
});

describe('--dry-run', () => {
  test('shows every step and every gate, and does nothing', async () => {
    const plan = planOf(
      [
        { kind: 'compact', revision: '4000', why: 'keeps 1000 revisions' },
        { kind: 'await-compaction', members: ['2a', '3a'] },
        defragOf('m2'),
        { kind: 'move-leader', from: '1a', to: '2a', why: 'm1 is next' },
        { kind: 'disarm', members: ['1a', '99'], orphans: true, why: 'every member is below 80 %' },
      ],
      {
        noSpace: true,
        gates: [
          { rule: 'foreign-snapshot', member: 'm2', verdict: 'unchecked', message: 'no metrics' },
          { rule: 'single-member', member: undefined, verdict: 'passed', message: 'three voters' },
        ],
        refusals: [{ rule: 'learner', member: 'm4', message: 'etcd refuses it', hint: 'promote it' }],
        againMs: NOW_MS,
      },
    );
    const sight = sightOf(['m1', 'm2', 'm3']);
    const blind = {
      ...memberState('m2'),
      gauges: undefined,
      gaugesError: 'connection refused',
      rate: { bytesPerSecond: 200e6, learned: false },
    };
    const members = sight.state.members.map((member) => (member.name === 'm2' ? blind : member));
    const { answer, maintained, asked } = await ran({
      plan,
      sight: { notes: ['a note', 'the metrics of m2 cannot be read: connection refused'], state: { ...sight.state, members } },
      options: { dryRun: true },
      says: true,
    });
    expect({ maintained, asked }).toEqual({ maintained: [], asked: [] });
    expect((answer as Answer).text.split('\n')).toEqual([
      'cluster default (abcd): NOSPACE is armed; this would be done',
      'STEP  ACTION            MEMBER    FREEZE     GAIN  WHY',
      '   1  compact                                      to revision 4000: keeps 1000 revisions',
      '   2  await-compaction  m2, m3                     a compaction has not finished there',
      '   3  defrag            m2         ~1.6s  600 MiB  67 % of it is free',
      '   4  move-leader       m1 -> m2                   m1 is next',
      '   5  disarm            m1, 99                     every member is below 80 %',
      'note: how long m2 will be frozen is a guess at 191 MiB/s: no defragmentation of 8.00 MiB or more was seen before',
      'note: what only the metrics of m2 tell could not be checked: connection refused',
      'note: a note',
      'left out (learner): m4: etcd refuses it',
      'hint: promote it',
      '',
      'VERDICT    RULE              MEMBER  BECAUSE',
      'unchecked  foreign-snapshot  m2      no metrics',
      'passed     single-member             three voters',
    ]);
    expect(answer).toMatchObject({
      exitCode: 0,
      json: {
        cluster: 'default',
        clusterId: 'abcd',
        dryRun: true,
        outcome: 'planned',
        plan: {
          noSpace: true,
          complete: false,
          again: '2026-11-22T12:00:00.000Z',
          steps: [
            { action: 'compact', members: [], revision: '4000', predictedMs: null },
            { action: 'await-compaction', members: ['m2', 'm3'] },
            { action: 'defrag', members: ['m2'], predictedMs: 1573, gainBytes: 629_145_600, leads: false },
            { action: 'move-leader', members: ['m1', 'm2'] },
            { action: 'disarm', members: ['m1', '99'] },
          ],
        },
        members: [
          { name: 'm1', leader: true },
          { name: 'm2', metricsError: 'connection refused' },
          { name: 'm3', leader: false },
        ],
      },
    });
  });

  test('H10: what a yes would go over is warned of, and said to need one', async () => {
    const plan = planOf([defragOf('m2')], {
      gates: [
        { rule: 'kubernetes-compacts', member: undefined, verdict: 'overridden', message: 'Kubernetes compacts it' },
        { rule: 'version-hazard', member: 'm2', verdict: 'warned', message: 'etcd 3.5.13 loses events' },
      ],
    });
    const warnings = /warning: kubernetes-compacts: Kubernetes compacts it\nwarning: version-hazard: m2: etcd 3.5.13 loses events/;
    const { answer } = await ran({ plan, options: { dryRun: true } });
    expect((answer as Answer).text).toMatch(warnings);
    expect((answer as Answer).text).toMatch(/\n\nwhat is overridden above is so only with --yes, or a yes at the terminal$/);
    const said = await ran({ plan, options: { dryRun: true, yes: true } });
    expect((said.answer as Answer).text).not.toContain('above is so only');
    expect((await ran({ plan, says: true })).output.said.join('\n')).toMatch(warnings);
  });

  test('is 0 when nothing is needed and 14 when a rule stands in the way', async () => {
    const options = { dryRun: true };
    expect((await ran({ options, plan: planOf([]) })).answer).toMatchObject({ exitCode: 0, json: { outcome: 'nothing' } });
    expect((await ran({ options, plan: planOf([], { complete: false }) })).answer).toMatchObject({
      exitCode: 14,
      json: { outcome: 'refused' },
    });
  });
});

describe('what came of it', () => {
  const actions = [
    { action: 'compact' as const, member: undefined, tookMs: 1200, revision: '4000', message: 'history up to revision 4000 is gone' },
    {
      action: 'defrag' as const,
      member: 'm2',
      tookMs: 2000,
      predictedMs: 1573,
      beforeBytes: 900_000_000,
      afterBytes: 300_000_000,
      message: 'x',
    },
  ];
  const yes = { yes: true };

  test('each action with its time and sizes, and the sum', async () => {
    const { answer } = await ran({
      options: yes,
      round: roundOf('done', { actions, plan: planOf([], { refusals: [{ rule: 'done', member: undefined, message: 'all done' }] }) }),
    });
    expect((answer as Answer).text.split('\n')).toEqual([
      'ACTION   MEMBER  TOOK  PREDICTED   BEFORE    AFTER  RECLAIMED  WHAT',
      'compact          1.2s                                          history up to revision 4000 is gone',
      'defrag   m2      2.0s       1.6s  858 MiB  286 MiB    572 MiB',
      'cluster prod: done; 1 member defragmented, 572 MiB given back',
    ]);
    expect(answer).toMatchObject({
      exitCode: 0,
      json: { dryRun: false, outcome: 'done', actions: [{ reclaimedBytes: null }, { reclaimedBytes: 600_000_000, revision: null }] },
    });
  });

  test('a surprise is 1, or what its code says; the rules of the last plan are not repeated then', async () => {
    const failure = { code: 'no-quorum', message: 'the leader was lost', hint: 'look at status' };
    const { answer } = await ran({ options: yes, round: roundOf('failed', { actions, failure }) });
    expect((answer as Answer).text.split('\n').slice(-3)).toEqual([
      'cluster prod: ENDED EARLY by something unexpected; 1 member defragmented, 572 MiB given back',
      'no-quorum: the leader was lost',
      'hint: look at status',
    ]);
    expect(answer).toMatchObject({ exitCode: 1, json: { failure } });
    const code = async (name: string): Promise<unknown> =>
      ((await ran({ options: yes, round: roundOf('failed', { failure: { code: name, message: 'x', hint: undefined } }) })).answer as Answer)
        .exitCode;
    expect([await code('locked'), await code('interrupted'), await code('surprise')]).toEqual([11, 130, 1]);
  });

  test('a rule that ended it is 14', async () => {
    const plan = planOf([], { complete: false, refusals: [{ rule: 'member-lagging', member: 'm3', message: 'behind by 9000' }] });
    const { answer } = await ran({ options: yes, round: roundOf('refused', { actions, plan }) });
    expect((answer as Answer).exitCode).toBe(14);
    expect((answer as Answer).text).toMatch(/cluster prod: REFUSED; .*\nrefused \(member-lagging\): m3: behind by 9000$/);
  });

  test('H2: interrupted while a member is frozen, it says so; before and after, that no step was begun', async () => {
    const stopped = new WardenError('interrupted', 'stopped by SIGINT');
    async function interruptedAt(step: string): Promise<Answer | WardenError> {
      const controller = new AbortController();
      return (
        await ran({
          options: yes,
          signal: controller.signal,
          round: (_request, { context }) => {
            context.progress({ step: 'look' });
            context.progress({ step, subject: 'm2' });
            controller.abort(stopped);
            return Promise.reject(stopped);
          },
        })
      ).answer;
    }
    expect(await interruptedAt('defrag')).toMatchObject({
      exitCode: 130,
      message: 'stopped by SIGINT while m2 was being defragmented: it may still be frozen, and comes back by itself',
    });
    expect(await interruptedAt('settle')).toMatchObject({ exitCode: 130, message: 'stopped by SIGINT; no further step was begun' });
  });

  test('a failure that nobody asked for stays what it is', async () => {
    const round = (): Promise<RoundResult> => Promise.reject(new WardenError('permission-denied', 'root is needed'));
    expect((await ran({ options: yes, round })).answer).toMatchObject({ code: 'permission-denied' });
  });
});

describe('what is wished', () => {
  const wish = async (run: typeof defrag, options: Record<string, unknown>): Promise<unknown> =>
    run({ options } as unknown as Invocation).catch((error: unknown) => error);

  test('--all and --member exclude each other', async () => {
    expect(await wish(defrag, { all: true, member: ['m1'] })).toMatchObject({ code: 'usage' });
  });

  test.each(['0', 'all', '-5', '10 minutes', ''])('H10: a history to keep cannot be %j', async (keep) => {
    expect(await wish(compact, { keep })).toMatchObject({ code: 'usage', hint: expect.stringContaining('10000') as unknown });
  });
});
