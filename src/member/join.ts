/** From the addition to the list to a member that has everything: what to start it with, and the wait until it has caught up. */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError, WardenError } from '../errors.ts';
import { interruption } from '../etcd/call-errors.ts';
import { hex } from '../etcd/ids.ts';
import type { ClusterAccess, ListedMember } from '../etcd/types.ts';
import { lookAtMembers } from './sight.ts';
import type { MemberContext, MembershipSight, SeenMember } from './types.ts';
import { labelOf, PROMOTABLE_LAG } from './words.ts';

/** What a new member's etcd has to be started with; all other settings are as those of the other members. */
export interface StartWith {
  readonly name: string;
  /** `name=url`, joined by commas: everybody, with the new one. */
  readonly initialCluster: string;
  readonly peerUrls: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly flags: readonly string[];
}

/**
 * @param members the list with the new one, as the reply to the addition has it
 * @param memberId whose name etcd does not know before it has started
 */
export function startWith(name: string, memberId: bigint, members: readonly ListedMember[]): StartWith {
  const member = members.find(({ id }) => id === memberId);
  const peerUrls = member?.peerUrls ?? [];
  const initialCluster = members
    .map((one) => ({ name: one.id === memberId ? name : labelOf(one), urls: one.peerUrls }))
    .toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
    .flatMap((one) => one.urls.map((url) => `${one.name}=${url}`))
    .join(',');
  const settings = [
    ['NAME', name],
    ['INITIAL_ADVERTISE_PEER_URLS', peerUrls.join(',')],
    ['INITIAL_CLUSTER', initialCluster],
    ['INITIAL_CLUSTER_STATE', 'existing'],
  ] as const;
  return {
    name,
    initialCluster,
    peerUrls,
    environment: Object.fromEntries(settings.map(([key, value]) => [`ETCD_${key}`, value])),
    flags: settings.map(([key, value]) => `--${key.toLowerCase().replaceAll('_', '-')}=${value}`),
  };
}

export interface AwaitOptions {
  readonly access: ClusterAccess;
  readonly context: MemberContext;
  readonly memberId: bigint;
  /** As it will be called. */
  readonly name: string;
  /** ms; undefined = as long as the signal allows. */
  readonly timeoutMs?: number | undefined;
  readonly pollMs?: number;
}

const POLL_MS = 1_000;

/**
 * Waits until the member runs and has applied nearly everything, and tells how far it is whenever that changes.
 * @returns the cluster as it is then
 * @throws WardenError `timeout`, `interrupted`, `member-missing` when somebody removed it meanwhile
 */
export async function untilCaughtUp(options: AwaitOptions): Promise<MembershipSight> {
  const { access, context, memberId, name, timeoutMs, pollMs = POLL_MS } = options;
  const giveUpMs = timeoutMs === undefined ? Infinity : performance.now() + timeoutMs;
  let told = '';
  let missing = 0;
  for (;;) {
    if (context.signal.aborted) throw stopped(context.signal, name);
    const sight = await lookAtMembers({ access, signal: context.signal }).catch(asError);
    let state: Joined;
    if (sight instanceof Error) state = { done: false, sentence: `the members cannot be asked: ${sight.message}` };
    else {
      const member = sight.members.find(({ id }) => id === memberId);
      // 3.4 tells the list from the memory of one member, which may be a moment behind.
      missing = member === undefined && sight.listed === 'quorum' ? missing + 1 : 0;
      if (missing > 3)
        throw new WardenError('member-missing', `${name} (${hex(memberId)}) is not in the member list any more: somebody removed it`);
      state = joinedState(name, member);
      if (state.done) {
        context.progress({ step: 'join', subject: name, message: state.sentence, finished: true });
        return sight;
      }
    }
    if (state.sentence !== told) {
      told = state.sentence;
      context.progress({ step: 'join', subject: name, message: told });
    }
    if (performance.now() >= giveUpMs)
      throw new WardenError('timeout', `${told} after ${Math.round((timeoutMs ?? 0) / 1000)} s`, {
        hint: 'start it as shown, or look into its log; the same command again goes on from there',
      });
    await sleep(pollMs, undefined, { signal: context.signal }).catch(() => undefined);
  }
}

interface Joined {
  readonly done: boolean;
  readonly sentence: string;
}

/** How far a member is that was added; pure. */
export function joinedState(name: string, member: SeenMember | undefined): Joined {
  if (member === undefined) return { done: false, sentence: `the addition of ${name} has not reached the member that was asked yet` };
  if (!member.started) return { done: false, sentence: `${name} has not been started yet` };
  if (!member.reachable) {
    const { message = '', hint } = member.error ?? {};
    return { done: false, sentence: `${name} was started, and does not answer: ${message}${hint === undefined ? '' : ` (${hint})`}` };
  }
  if (member.status?.leader === 0n) return { done: false, sentence: `${name} runs, and knows no leader yet` };
  const lag = member.lag ?? 0n;
  if (lag > PROMOTABLE_LAG) return { done: false, sentence: `${name} runs and catches up, ${lag} raft entries behind` };
  if (!member.learner && member.readMs === undefined)
    return { done: false, sentence: `${name} runs, and no linearizable read goes through it: ${member.error?.message ?? ''}` };
  return { done: true, sentence: `${name} runs and has caught up` };
}

function stopped(signal: AbortSignal, name: string): WardenError {
  const reason = interruption(signal, `waiting for ${name}`);
  if (reason.code !== 'interrupted') return reason;
  return new WardenError('interrupted', `stopped while ${name} was waited for; it is in the member list`, {
    hint: 'the same command again goes on from there; to undo it, `etcd-warden member remove`',
    cause: signal.reason,
  });
}
