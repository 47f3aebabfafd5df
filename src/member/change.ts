/**
 * One change of the member list, asked for once. What etcd refuses for now (its members were not connected for five seconds, a learner is behind) is asked again,
 * since nothing happened; an answer that was lost is never asked again: the member list tells what came of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError, WardenError } from '../errors.ts';
import { interruption } from '../etcd/call-errors.ts';
import { hex } from '../etcd/ids.ts';
import { MemberClient } from '../etcd/member.ts';
import { changedNothing } from '../etcd/membership-errors.ts';
import type { ClusterAccess, ListedMember } from '../etcd/types.ts';
import type { MemberContext, MembershipSight } from './types.ts';
import { healthyOf } from './words.ts';

export interface ChangeOptions {
  readonly access: ClusterAccess;
  readonly context: MemberContext;
  /** ms that a refusal is waited out which passes by itself. etcd wants five seconds of connections; after an election they start anew. */
  readonly patienceMs?: number;
  /** ms that the member list is watched after an answer was lost. A proposal that was on its way is decided within a few elections. */
  readonly settleMs?: number;
}

const PATIENCE_MS = 30_000;
const SETTLE_MS = 15_000;
const POLL_MS = 500;

/**
 * @returns the new member as the list has it, and everybody
 * @throws WardenError what etcd refuses; `outcome-unknown` when the answer was lost and the list does not show it
 */
export async function addMember(
  sight: MembershipSight,
  { peerUrls, learner }: { readonly peerUrls: readonly string[]; readonly learner: boolean },
  options: ChangeOptions,
): Promise<{ readonly member: ListedMember; readonly members: readonly ListedMember[] }> {
  const before = new Set(sight.members.map(({ id }) => id));
  const what = `the addition of ${peerUrls.join(', ')}`;
  return change(sight, what, options, {
    call: (client, signal) => client.memberAdd({ peerUrls, learner, signal }),
    passing: ['peers-not-connected'],
    found: (members) => {
      const member = members.find(({ id, peerUrls: urls }) => !before.has(id) && urls.some((url) => peerUrls.includes(url)));
      return member === undefined ? undefined : { member, members };
    },
  });
}

/** @returns who is left. @throws WardenError as {@link addMember} */
export async function removeMember(sight: MembershipSight, memberId: bigint, options: ChangeOptions): Promise<readonly ListedMember[]> {
  return change(sight, `the removal of ${hex(memberId)}`, options, {
    call: (client, signal) => client.memberRemove(memberId, signal),
    passing: ['peers-not-connected'],
    found: (members) => (members.some(({ id }) => id === memberId) ? undefined : members),
    avoid: memberId,
  });
}

/** @returns everybody. @throws WardenError as {@link addMember}; `learner-behind` when it has not caught up in time */
export async function promoteMember(sight: MembershipSight, memberId: bigint, options: ChangeOptions): Promise<readonly ListedMember[]> {
  return change(sight, `the promotion of ${hex(memberId)}`, options, {
    call: (client, signal) => client.memberPromote(memberId, signal),
    passing: ['peers-not-connected', 'learner-behind'],
    found: (members) => (members.some(({ id, learner }) => id === memberId && !learner) ? members : undefined),
  });
}

interface Request<Result> {
  readonly call: (client: MemberClient, signal: AbortSignal) => Promise<Result>;
  /** Codes of refusals that pass by themselves. */
  readonly passing: readonly string[];
  /** What the call would have answered, as the member list shows it; undefined while it does not. */
  readonly found: (members: readonly ListedMember[]) => Result | undefined;
  /** Not through this one. */
  readonly avoid?: bigint;
}

async function change<Result>(sight: MembershipSight, what: string, options: ChangeOptions, request: Request<Result>): Promise<Result> {
  const { access, context, patienceMs = PATIENCE_MS } = options;
  const endpoints = through(sight, request.avoid);
  let client = new MemberClient(access, endpoints[0]);
  const giveUpMs = performance.now() + patienceMs;
  try {
    for (let turn = 1; ; turn++) {
      if (context.signal.aborted) throw interruption(context.signal, what);
      try {
        return await request.call(client, context.signal);
      } catch (error) {
        const refusal = asError(error);
        if (!changedNothing(refusal)) return await lookAfter(refusal, what, sight, options, request);
        const passes = refusal instanceof WardenError && request.passing.includes(refusal.code);
        if (!passes || performance.now() >= giveUpMs) throw refusal;
        context.progress({ step: 'wait', message: `etcd refuses ${what} for now: ${refusal.message}` });
        if (refusal.code === 'peers-not-connected') {
          client.close();
          client = new MemberClient(access, endpoints[turn % endpoints.length] ?? endpoints[0]);
        }
      }
      await sleep(POLL_MS, undefined, { signal: context.signal }).catch(() => undefined);
    }
  } finally {
    client.close();
  }
}

/**
 * Whom to ask, in order. The leader first, which is connected to everybody and alone knows how far a learner is; then the voters that answer fastest. Each judges
 * by its own connections, and one that a request failed late may call a peer unreachable for as long as its streams last, although everything arrives
 * (rafthttp/peer_status.go: only a new connection makes it active again). A member that leaves must not be the one that is asked: it may be gone before it has
 * answered.
 */
function through(sight: MembershipSight, avoid: bigint | undefined): readonly [string, ...string[]] {
  const healthy = healthyOf(sight).filter(({ id }) => id !== avoid);
  const order = healthy.toSorted(
    (a, b) => Number(b.id === sight.leader) - Number(a.id === sight.leader) || (a.readMs ?? 0) - (b.readMs ?? 0),
  );
  const [first, ...others] = order.flatMap(({ endpoint }) => endpoint ?? []);
  if (first === undefined) throw new WardenError('no-quorum', `no voter of ${sight.cluster} is left that could be asked`);
  return [first, ...others];
}

async function lookAfter<Result>(
  lost: Error,
  what: string,
  sight: MembershipSight,
  { access, context, settleMs = SETTLE_MS }: ChangeOptions,
  { found, avoid }: Request<Result>,
): Promise<Result> {
  context.progress({ step: 'wait', message: `what came of ${what} is not known (${lost.message}): the member list tells` });
  const clients = healthyOf(sight)
    .filter(({ id }) => id !== avoid)
    .flatMap(({ endpoint }) => (endpoint === undefined ? [] : [new MemberClient(access, endpoint)]));
  const giveUpMs = performance.now() + settleMs;
  try {
    while (!context.signal.aborted) {
      for (const client of clients) {
        const result = await asked(client, context.signal, found);
        if (result !== undefined) return result;
      }
      if (performance.now() >= giveUpMs) break;
      await sleep(POLL_MS, undefined, { signal: context.signal }).catch(() => undefined);
    }
  } finally {
    for (const client of clients) client.close();
  }
  if (context.signal.aborted)
    throw new WardenError('interrupted', `stopped while ${what} was under way: it may have happened`, {
      hint: 'the same command again goes on from what it sees',
      cause: context.signal.reason,
    });
  throw new WardenError(
    'outcome-unknown',
    `${what} was asked for, its answer was lost (${lost.message}), and the member list does not show it`,
    {
      hint: 'it may still come: look at `etcd-warden member list` before anything else; the same command again goes on from what it sees',
      cause: lost,
    },
  );
}

/** 3.4 tells from its memory, but what is in there has happened. */
async function asked<Result>(
  client: MemberClient,
  signal: AbortSignal,
  found: (members: readonly ListedMember[]) => Result | undefined,
): Promise<Result | undefined> {
  try {
    const { members } = await client.memberList({ linearizable: true, signal });
    return found(members);
  } catch {
    // Whoever does not tell now is asked again; the caller has a deadline.
    return undefined;
  }
}
