/**
 * Defragmentation of one member, which answers nothing meanwhile (H1). One RPC on a channel of its own, sent once (H3). The server does not look at the
 * call's end (maintenance.go, Defragment), so neither a deadline nor an error here means that the member is free again: whatever becomes of the call,
 * nothing else is begun before the member has answered a linearizable read (H2).
 */
import { crashPoint } from '../../crash-points.ts';
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import { asError, WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import type { Action, ClusterState, MemberState } from '../planner/types.ts';
import { seemsDead, untilBack } from './back.ts';
import { memberOf, pause, surprise, withMember, type StepClient, type StepOutcome, type StepSetting } from './setting.ts';

type Defrag = Extract<Action, { kind: 'defrag' }>;

/** Of the predicted time. */
const ALARM_FACTOR = 3;
/** Less is within what writes of a moment take back; below it nothing is expected. */
const GAIN_THAT_COUNTS = 4 << 20;
/** Of what was free: keys that are written meanwhile take some of it back at once, and new pages are not filled to the brim. */
const EXPECTED_SHARE = 0.25;

/**
 * @param state what the plan was made from, a moment ago
 * @throws WardenError `surprise`, `interrupted` (the member may be frozen still), or what etcd says
 */
export async function defragment(action: Defrag, state: ClusterState, setting: StepSetting): Promise<StepOutcome> {
  const member = memberOf(state, action.member);
  if (member === undefined || !member.reachable) return { kind: 'stale', reason: `${action.member} does not answer any more` };
  return withMember(setting, member, async (client) => {
    const stale = await whyNot(action, member, state, client, setting.signal);
    if (stale !== undefined) return { kind: 'stale', reason: stale };
    return { kind: 'done', result: await freeze(action, member, state, client, setting) };
  });
}

/** The very last look: leadership may have moved onto this member since the plan was made. */
async function whyNot(
  action: Defrag,
  member: MemberState,
  state: ClusterState,
  client: StepClient,
  signal: AbortSignal,
): Promise<string | undefined> {
  const status = await client.status(signal);
  if (hex(status.memberId) !== member.id || hex(status.clusterId) !== state.clusterId) return `${member.endpoint} leads to another member`;
  if (status.leader === 0n) return `${member.name} knows no leader`;
  const leads = status.leader === status.memberId;
  if (leads && !action.leads) return `${member.name} has become the leader`;
  if (!leads && action.leads) return `${member.name} does not lead any more`;
  return undefined;
}

async function freeze(
  action: Defrag,
  member: MemberState,
  state: ClusterState,
  client: StepClient,
  setting: StepSetting,
): Promise<Extract<StepOutcome, { kind: 'done' }>['result']> {
  const { events, signal } = setting;
  const { predictedMs } = action;
  const before = { bytes: member.dbSize, inUse: member.dbSizeInUse };
  crashPoint('before-defrag');
  signal.throwIfAborted();
  events.logger.info({ member: member.name, predictedMs, ...before, leads: action.leads }, 'defragmenting a member');
  let started = performance.now();
  // Ends the waiting of the call itself when nobody waits for it any more; the member takes no notice.
  const end = new AbortController();
  const rpc = client.defragment({
    signal: AbortSignal.any([signal, end.signal]),
    memberId: BigInt(`0x${member.id}`),
    onSent: () => {
      // A new token and a look at who is there come before, and freeze nobody: they are not to be learned as slowness.
      started = performance.now();
      setTimeout(() => crashPoint('mid-defrag'), FROZEN_MS).unref();
    },
  });
  const call = await watched(rpc, action, member, setting).finally(() => end.abort());
  const tookMs = Math.round(performance.now() - started);
  crashPoint('after-defrag');
  const after = await untilBack(member, setting);
  const now = memberOf(after, member.id) ?? member;
  if (call.outcome === 'failed') {
    if (call.error instanceof WardenError && call.error.code === 'permission-denied') throw call.error;
    throw surprise(
      `${member.name} answered its defragmentation with: ${call.error.message}`,
      `it answers again, with ${formatBytes(now.dbSize)} where it had ${formatBytes(before.bytes)}; look into its log, and for room in its data folder`,
      call.error,
    );
  }
  if (call.outcome === 'lost') {
    throw surprise(
      `${member.name} answers reads again, but never answered its defragmentation in ${formatDurationShort(tookMs)}`,
      `it has ${formatBytes(now.dbSize)} where it had ${formatBytes(before.bytes)}; look for a proxy between, and into its log`,
    );
  }
  refuseNewCorrupt(state, after);
  const gained = before.bytes - now.dbSize;
  if (action.gainBytes >= GAIN_THAT_COUNTS && gained < action.gainBytes * EXPECTED_SHARE) {
    throw surprise(
      `${member.name} was defragmented and has ${formatBytes(now.dbSize)} where it had ${formatBytes(before.bytes)}: ${formatBytes(action.gainBytes)} less were expected`,
      'somebody may be writing as fast as space is given back; see `etcd-warden status`',
    );
  }
  const { name } = member;
  events.logger.info({ member: name, predictedMs, tookMs, before: before.bytes, after: now.dbSize }, 'a member was defragmented');
  await setting.note({
    kind: 'defragmented',
    member: member.id,
    defrag: { atMs: setting.now().getTime(), tookMs, beforeBytes: before.bytes, afterBytes: now.dbSize, inUseBytes: before.inUse },
  });
  return {
    action: 'defrag',
    member: name,
    tookMs,
    beforeBytes: before.bytes,
    afterBytes: now.dbSize,
    predictedMs,
    ...(call.overdue ? { overdue: true } : {}),
    message: `${name} was defragmented in ${formatDurationShort(Math.max(1, tookMs))}, from ${formatBytes(before.bytes)} to ${formatBytes(now.dbSize)}`,
  };
}

/** After the request was sent: it has arrived by then, and no defragmentation is over (an empty database takes 3 ms). */
const FROZEN_MS = 2;

type Call =
  | { readonly outcome: 'answered'; readonly overdue: boolean }
  | { readonly outcome: 'failed'; readonly error: Error }
  /** Long overdue, and the member does everything else. */
  | { readonly outcome: 'lost' };

/** Waits for the answer, tells how long it takes, raises the alarm when it is overdue, and looks then whether only the answer is missing. */
async function watched(rpc: Promise<void>, action: Defrag, member: MemberState, setting: StepSetting): Promise<Call> {
  const { events, pace } = setting;
  const started = performance.now();
  const alarmMs = Math.max(pace.alarmMs, ALARM_FACTOR * action.predictedMs);
  const done = new AbortController();
  const stop = AbortSignal.any([setting.signal, done.signal]);
  let overdue = false;
  const answer = rpc.then(
    (): Call => ({ outcome: 'answered', overdue }),
    (error: unknown): Call => ({ outcome: 'failed', error: asError(error) }),
  );
  const predicted = formatDurationShort(Math.max(1, action.predictedMs));
  const tell = (): void => {
    const tookMs = performance.now() - started;
    const took = formatDurationShort(Math.max(1, Math.round(tookMs / 1000) * 1000));
    if (!overdue && tookMs > alarmMs) {
      overdue = true;
      const fields = { member: member.name, tookMs: Math.round(tookMs), predictedMs: action.predictedMs };
      events.logger.error(fields, 'a defragmentation takes far longer than predicted; nothing else is begun before the member answers');
    }
    const how = overdue ? `, far longer than the ${predicted} predicted` : ` of about ${predicted}`;
    events.progress({
      step: 'defrag',
      subject: member.name,
      message: `${member.name} defragments for ${took}${how}`,
      ...(overdue ? { overdue } : {}),
    });
  };
  events.progress({
    step: 'defrag',
    subject: member.name,
    message: `${member.name} is defragmented and answers nothing for about ${predicted}`,
  });
  const telling = setInterval(tell, pace.tellMs);
  try {
    const call = await Promise.race([answer, watchOthers(member, action.leads, () => overdue, setting, stop)]);
    setting.signal.throwIfAborted();
    return call;
  } catch (error) {
    if (!setting.signal.aborted) throw error;
    throw new WardenError(
      'interrupted',
      `stopped while ${member.name} was being defragmented: it goes on there, and answers when it is done`,
      {
        hint: `nothing else was begun; it may take ${predicted} or longer, see \`etcd-warden status\``,
        cause: error,
      },
    );
  } finally {
    clearInterval(telling);
    done.abort();
  }
}

/** Ends when the call is overdue and the member answers everything else three times in a row, or is dead; never otherwise. */
async function watchOthers(
  member: MemberState,
  leads: boolean,
  overdue: () => boolean,
  setting: StepSetting,
  stop: AbortSignal,
): Promise<Call> {
  const { events, pace } = setting;
  let led = true;
  let dead: number | undefined;
  for (let well = 0; well < 3;) {
    await pause(pace.tellMs, stop);
    const state = await setting.look(stop).then(
      (sight) => sight.state,
      () => undefined, // nobody else answers either: nothing to do but wait, and the next look tells
    );
    stop.throwIfAborted();
    const frozen = state === undefined ? undefined : memberOf(state, member.id);
    const leader = state?.members.find((one) => one.reachable && one.leader !== '' && one.id !== member.id)?.leader;
    if (!leads && led && (leader === undefined || leader === member.id)) {
      // Nothing can be done about it: the server ends what it began. Elections go on without the member, if they are needed.
      events.logger.error({ member: member.name, leader }, 'the member that is being defragmented leads, or nobody does');
    }
    led = leader !== undefined && leader !== member.id;
    dead = seemsDead(frozen) ? (dead ?? performance.now()) : undefined;
    // Something between keeps the call open.
    if (dead !== undefined && overdue() && performance.now() - dead > pace.deadMs) break;
    well = overdue() && frozen?.readMs !== undefined && frozen.gauges?.defragInflight !== true ? well + 1 : 0;
  }
  return { outcome: 'lost' };
}

function refuseNewCorrupt(before: ClusterState, after: ClusterState): void {
  const corrupt = (state: ClusterState): number => state.alarms.filter(({ type }) => type === 'CORRUPT').length;
  if (corrupt(after) <= corrupt(before)) return;
  throw surprise(
    'CORRUPT was raised while a member was defragmented',
    'touch nothing before you know which member is wrong: see https://etcd.io/docs/latest/op-guide/data_corruption/',
  );
}
