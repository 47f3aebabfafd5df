/**
 * One round: look, plan, act, look again, until nothing is left to do or a rule says no. The plan is thrown away after each action, because whatever
 * it foresaw may have changed. The first thing that does not come out as it should ends the round; what happens next is for the next round to see.
 */
import { errorDetails } from '../errors.ts';
import type { Ownership } from './ownership.ts';
import { plan } from './planner/plan.ts';
import type { Action, Plan, Policy, Rule, Wish } from './planner/types.ts';
import type { MaintenanceRecordStore } from './record/record.ts';
import { awaitCompaction, compact } from './steps/compact.ts';
import { defragment } from './steps/defrag.ts';
import { disarm } from './steps/disarm.ts';
import { moveLeader } from './steps/move-leader.ts';
import { nameOf, pause, settle, surprise, type StepOutcome, type StepSetting } from './steps/setting.ts';
import type { ActionResult, RoundResult, Sight } from './types.ts';

export interface RoundOptions {
  readonly cluster: string;
  readonly wish: Wish;
  readonly policy: Policy;
  readonly ownership: Pick<Ownership, 'confirm'>;
  readonly record: Pick<MaintenanceRecordStore, 'note' | 'current'>;
  /** Between two members, and after leadership moved, ms. */
  readonly settleMs: number;
  readonly setting: Omit<StepSetting, 'note'>;
}

/** A cure of seven members is sixteen actions; more than this is a plan that contradicts itself. */
const MOST_ACTIONS = 64;
/**
 * What passes by itself within moments of a step: an election settles, a voter catches up, a count of open reads is from the commit before. It is waited for
 * between two steps alone, because it stands there for what was just done; before the first step it is the state of the cluster.
 */
const PASSING: ReadonlySet<Rule> = new Set([
  'leader-unclear',
  'no-quorum',
  'member-slow',
  'member-lagging',
  'raft-snapshot',
  'foreign-snapshot',
  'foreign-hash',
  'defrag-inflight',
  'compacting',
]);
/** The cluster changed between the plan and its step so many times: it is not quiet enough to be touched. */
const MOST_STALE = 5;

/**
 * @throws WardenError `interrupted`; and what the first look met, when nothing was done yet. Every other failure is a result.
 */
export async function runRound(options: RoundOptions): Promise<RoundResult> {
  const { setting, policy, wish, cluster } = options;
  const { signal, events } = setting;
  const actions: ActionResult[] = [];
  let made: Plan | undefined;
  let stale = 0;
  /** performance.now() until which no member is touched. */
  let restUntil = 0;
  /** performance.now() until which a passing obstacle is waited for. */
  let patientUntil = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const sight = await lookAt(options);
      const now = plan(sight.state, policy, wish);
      made = now;
      const { action } = now;
      if (action === undefined) {
        if (performance.now() < patientUntil && passes(now)) {
          events.progress({ step: 'look', message: now.refusals[0]?.message ?? 'waiting' });
          await pause(setting.pace.pollMs, signal);
          continue;
        }
        const result = ended(cluster, now, actions);
        if (result.outcome === 'done' && options.record.current().failure !== undefined)
          await options.record.note({ kind: 'recovered', atMs: setting.now().getTime() }, signal);
        events.logger.info({ outcome: result.outcome, actions: actions.length, why: now.refusals[0]?.message }, 'the round is over');
        return result;
      }
      if (actions.length >= MOST_ACTIONS)
        throw surprise(`${actions.length} actions were not enough`, 'report this, with the output of `etcd-warden status`');
      const restMs = restUntil - performance.now();
      if (restMs > 0 && touchesAMember(action)) {
        await settle(restMs, 'letting the members settle', setting);
        continue;
      }
      const outcome = await carryOut(action, sight, options);
      if (outcome.kind === 'done') {
        const { action: step, member, message } = outcome.result;
        actions.push(outcome.result);
        events.progress({ step, message, finished: true, ...(member === undefined ? {} : { subject: member }) });
        stale = 0;
        patientUntil = performance.now() + setting.pace.patienceMs;
        if (touchesAMember(action)) restUntil = performance.now() + options.settleMs;
        continue;
      }
      events.logger.warn({ action: action.kind, reason: outcome.reason }, 'the cluster has changed since the plan was made; planning anew');
      if (++stale >= MOST_STALE)
        throw surprise(`the cluster changed ${stale} times between a plan and its step: ${outcome.reason}`, 'wait until it is quiet');
    }
  } catch (error) {
    const failure = errorDetails(error);
    // A step that was interrupted knows what it leaves behind; everything else that fails then fails for that reason.
    if (failure.code === 'interrupted' || made === undefined) throw error;
    signal.throwIfAborted();
    return await failed(options, made, actions, failure);
  }
}

/** Confirms that it is ours to do, and before a member is frozen that the cluster as it is at this moment still asks for the same. */
async function carryOut(action: Action, sight: Sight, options: RoundOptions): Promise<StepOutcome> {
  const { policy, wish } = options;
  const setting: StepSetting = { ...options.setting, note: (change) => options.record.note(change, options.setting.signal) };
  await options.ownership.confirm(setting.signal);
  switch (action.kind) {
    case 'compact':
      return compact(action, sight.state, setting);
    case 'await-compaction':
      return awaitCompaction(action, sight.state, setting);
    case 'move-leader':
      return moveLeader(action, sight.state, setting);
    case 'defrag': {
      const { state } = await lookAt(options);
      const again = plan(state, policy, wish).action;
      if (again?.kind !== 'defrag' || again.member !== action.member || again.leads !== action.leads)
        return { kind: 'stale', reason: `${nameOf(state, action.member)} is not to be defragmented any more` };
      return defragment(again, state, setting);
    }
    case 'disarm':
      return disarm(action, sight.state, setting);
  }
}

async function lookAt({ setting }: RoundOptions): Promise<Sight> {
  setting.events.progress({ step: 'look', message: 'asking the members' });
  return setting.look(setting.signal);
}

/** Something is left to do, and one thing at least that keeps it back goes away by itself; if something else stays, the last look says so. */
function passes({ complete, refusals }: Plan): boolean {
  return !complete && refusals.some(({ rule }) => PASSING.has(rule));
}

function touchesAMember({ kind }: Action): boolean {
  return kind === 'defrag' || kind === 'move-leader';
}

function ended(cluster: string, made: Plan, actions: readonly ActionResult[]): RoundResult {
  const outcome = !made.complete ? 'refused' : actions.length > 0 ? 'done' : 'nothing';
  return { cluster, outcome, actions, plan: made, failure: undefined };
}

async function failed(
  { cluster, record, setting, wish }: RoundOptions,
  made: Plan,
  actions: readonly ActionResult[],
  failure: ReturnType<typeof errorDetails>,
): Promise<RoundResult> {
  const { code, message, hint } = failure;
  setting.events.logger.error({ code, reason: message, actions: actions.length }, 'a surprise ended the round');
  // Who has the lock, or lacks a role, says nothing of the cluster: no reason for the daemon to stay away from it for longer.
  if (code !== 'locked' && !(code === 'permission-denied' && wish.kind !== 'routine'))
    await record.note({ kind: 'failed', atMs: setting.now().getTime(), rule: code, reason: message }, setting.signal);
  return { cluster, outcome: 'failed', actions, plan: made, failure: { code, message, hint } };
}
