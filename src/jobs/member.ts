/** A change of a cluster's membership from beginning to end: look, check, take the lock, look and check again, change, and see that it came out well. */
import { accessOf } from '../etcd/access.ts';
import { WardenError } from '../errors.ts';
import { hex } from '../etcd/ids.ts';
import { parsePeerUrls } from '../etcd/peer-urls.ts';
import type { ClusterAccess, ListedMember } from '../etcd/types.ts';
import { addMember, promoteMember, removeMember } from '../member/change.ts';
import { gatesFor, refusedBy } from '../member/gates.ts';
import { handOver } from '../member/handover.ts';
import { compareHashes, type HashComparison } from '../member/hashes.ts';
import { startWith, untilCaughtUp, type StartWith } from '../member/join.ts';
import { joiningFor } from '../member/replace/versions.ts';
import { lookAtMembers } from '../member/sight.ts';
import type { MemberGate, MembershipSight, SeenMember } from '../member/types.ts';
import { labelOf, votersOf, type Change } from '../member/words.ts';
import { askPeers } from '../restore/live-ask.ts';
import { withMemberLock } from './member-lock.ts';
import { clusterOf } from './stores.ts';
import type { JobContext } from './types.ts';

/** ms for the question whether somebody runs at a peer URL. */
const PEER_PATIENCE_MS = 2_000;
/** ms that a learner may take from "nearly everything" to what etcd calls in sync. */
const PROMOTION_PATIENCE_MS = 60_000;

export type MemberRequest = { readonly cluster: string } & (
  | {
      readonly action: 'add';
      readonly name: string;
      /** As typed: joined by commas. */
      readonly peerUrls: string;
      /** A voter from the first moment, whatever that endangers. */
      readonly voter: boolean;
      /** Until it has started, has caught up, votes and has the same data. */
      readonly wait: boolean;
      /** ms for its start and its catching up; undefined = until the caller gives up. */
      readonly timeoutMs: number | undefined;
    }
  | { readonly action: 'remove'; readonly member: string }
  | { readonly action: 'promote'; readonly member: string; readonly wait: boolean }
);

/** What would be done now. */
export interface MemberPlan {
  readonly sight: MembershipSight;
  readonly change: Change;
  readonly gates: readonly MemberGate[];
  /** `join`: it was added before and is waited for; `nothing`: it is as it should be. */
  readonly stage: 'change' | 'join' | 'nothing';
  /** The member that it is about, once it is in the list. */
  readonly member: SeenMember | undefined;
  /** Of an addition: what it has to be started with, as far as that is known before. */
  readonly start: StartWith | undefined;
}

export interface MemberResult {
  readonly action: MemberRequest['action'];
  /** `added`: in the list, not waited for. */
  readonly outcome: 'done' | 'added' | 'nothing';
  readonly member: { readonly id: bigint; readonly name: string; readonly peerUrls: readonly string[]; readonly learner: boolean };
  readonly start: StartWith | undefined;
  readonly hashes: HashComparison | undefined;
  /** As it is afterwards. */
  readonly sight: MembershipSight;
}

/** @throws WardenError what kept the members from being asked */
export async function listMembers(cluster: string, context: JobContext): Promise<MembershipSight> {
  const access = accessOf(clusterOf(context.config, cluster));
  return lookAtMembers({ access, signal: context.signal });
}

/**
 * Takes no lock and changes nothing.
 * @throws WardenError `usage`, `member-missing`, and what kept the members from being asked
 */
export async function planMemberChange(request: MemberRequest, context: JobContext): Promise<MemberPlan> {
  const access = accessOf(clusterOf(context.config, request.cluster));
  const sight = await lookAtMembers({ access, signal: context.signal });
  if (request.action === 'add') return planAddition(request, sight, access, context);
  const member = memberNamed(sight, request.member);
  const change: Change = { kind: request.action, member };
  const nothing = request.action === 'promote' && !member.learner;
  return {
    sight,
    change,
    gates: nothing ? [] : gatesFor(sight, change),
    stage: nothing ? 'nothing' : 'change',
    member,
    start: undefined,
  };
}

async function planAddition(
  { name, peerUrls, voter }: Extract<MemberRequest, { action: 'add' }>,
  sight: MembershipSight,
  access: ClusterAccess,
  { signal }: JobContext,
): Promise<MemberPlan> {
  // It stands in ETCD_INITIAL_CLUSTER beside those of the others.
  if (!/^[^\s,=]+$/.test(name))
    throw new WardenError('usage', `${JSON.stringify(name)} is no name for a member`, { hint: 'without spaces, commas and =' });
  const urls = parsePeerUrls(peerUrls, name);
  const versions = sight.members.flatMap(({ status }) => status?.version ?? []);
  const voters = votersOf(sight).length;
  // One voter stays alone in what it decides until the other has caught up, whatever else is known of the release.
  const learner = !voter && (voters === 1 || joiningFor(versions, voters).as === 'learner');
  const member = sight.members.find(
    (one) =>
      (one.name === name || one.name === '') && one.peerUrls.length === urls.length && urls.every((url) => one.peerUrls.includes(url)),
  );
  const change: Change = { kind: 'add', name, peerUrls: urls, learner, forced: voter, busy: [] };
  if (member === undefined) {
    const busy = await askPeers([{ name, peerUrls: urls, id: 0n }], access.tls, { signal, patienceMs: PEER_PATIENCE_MS });
    const asked = { ...change, busy };
    return { sight, change: asked, gates: gatesFor(sight, asked), stage: 'change', member, start: foreseen(name, urls, sight) };
  }
  const start = startWith(name, member.id, sight.members);
  if (!member.learner) return { sight, change, gates: [], stage: member.readMs === undefined ? 'join' : 'nothing', member, start };
  // It is waited for, so that it does not run yet is no reason to stop.
  const gates = gatesFor(sight, { kind: 'promote', member }).filter(({ rule }) => rule !== 'not-started' && rule !== 'not-caught-up');
  return { sight, change, gates, stage: 'join', member, start };
}

function foreseen(name: string, peerUrls: readonly string[], sight: MembershipSight): StartWith {
  // The id is etcd's to choose; none of these settings tells it.
  const id = 0n;
  return startWith(name, id, [...sight.members, { id, name, peerUrls, clientUrls: [], learner: true }]);
}

/**
 * @param onStart called when etcd has to be started by somebody else, with what to start it with
 * @throws WardenError `refused` with the gates that stand in the way, `locked`, `interrupted`, `timeout`, `outcome-unknown`, and what etcd refuses
 */
export async function changeMembers(
  request: MemberRequest,
  context: JobContext,
  onStart: (start: StartWith) => void = () => {},
): Promise<MemberResult> {
  const plan = await planMemberChange(request, context);
  const { action } = request;
  if (plan.stage === 'nothing' && plan.member !== undefined) {
    const hashes = action === 'remove' || !request.wait ? undefined : await hashesOf(plan.sight, request.cluster, context);
    return { action, outcome: 'nothing', member: plan.member, start: undefined, hashes, sight: plan.sight };
  }
  switch (request.action) {
    case 'add':
      return add(request, plan, context, onStart);
    case 'remove':
      return remove(request, plan.sight, context);
    case 'promote': {
      const { member, sight } = await promote(request.cluster, request.member, plan.sight, context);
      const hashes = request.wait ? await hashesOf(sight, request.cluster, context) : undefined;
      return { action, outcome: 'done', member, start: undefined, hashes, sight };
    }
  }
}

async function add(
  request: Extract<MemberRequest, { action: 'add' }>,
  plan: MemberPlan,
  context: JobContext,
  onStart: (start: StartWith) => void,
): Promise<MemberResult> {
  const { cluster, name } = request;
  const access = accessOf(clusterOf(context.config, cluster));
  const { member, start } =
    plan.stage === 'join' && plan.member !== undefined ? resumed(name, plan.member, plan) : await added(request, plan.sight, context);
  if (!request.wait) {
    return {
      action: 'add',
      outcome: 'added',
      member: { ...member, name },
      start,
      hashes: undefined,
      sight: await lookAtMembers({ access, signal: context.signal }),
    };
  }
  onStart(start);
  let sight = await untilCaughtUp({ access, context, memberId: member.id, name, timeoutMs: request.timeoutMs });
  if (sight.members.some(({ id, learner }) => id === member.id && learner))
    ({ sight } = await promote(cluster, hex(member.id), sight, context));
  const hashes = await hashesOf(sight, cluster, context);
  return { action: 'add', outcome: 'done', member: { ...member, name, learner: false }, start, hashes, sight };
}

function resumed(name: string, member: SeenMember, { sight }: MemberPlan): { member: ListedMember; start: StartWith } {
  return { member, start: startWith(name, member.id, sight.members) };
}

async function added(
  request: Extract<MemberRequest, { action: 'add' }>,
  before: MembershipSight,
  context: JobContext,
): Promise<{ member: ListedMember; start: StartWith }> {
  const cluster = clusterOf(context.config, request.cluster);
  const access = accessOf(cluster);
  return withMemberLock(cluster, before, `adding ${request.name} to ${request.cluster}`, context, async (confirm) => {
    const plan = await planMemberChange(request, context);
    // Somebody else added it meanwhile.
    if (plan.stage !== 'change' && plan.member !== undefined) return resumed(request.name, plan.member, plan);
    stopAtGates(plan.gates);
    if (plan.change.kind !== 'add') throw new Error('an addition is planned as one');
    const { peerUrls, learner } = plan.change;
    await confirm();
    context.progress({ step: 'add', subject: request.name, message: `adding ${request.name} as a ${learner ? 'learner' : 'voter'}` });
    const { member, members } = await addMember(plan.sight, { peerUrls, learner }, { access, context });
    context.logger.info({ member: request.name, id: hex(member.id), learner }, 'a member was added');
    context.progress({
      step: 'add',
      subject: request.name,
      message: `${request.name} is in the member list (${hex(member.id)})`,
      finished: true,
    });
    return { member, start: startWith(request.name, member.id, members) };
  });
}

async function promote(
  clusterName: string,
  given: string,
  before: MembershipSight,
  context: JobContext,
): Promise<{ member: SeenMember; sight: MembershipSight }> {
  const cluster = clusterOf(context.config, clusterName);
  const access = accessOf(cluster);
  const done = await withMemberLock(cluster, before, `promoting ${given} of ${clusterName}`, context, async (confirm) => {
    const sight = await lookAtMembers({ access, signal: context.signal });
    const member = memberNamed(sight, given);
    if (!member.learner) return member;
    stopAtGates(gatesFor(sight, { kind: 'promote', member }));
    await confirm();
    context.progress({ step: 'promote', subject: labelOf(member), message: `promoting ${labelOf(member)}` });
    await promoteMember(sight, member.id, { access, context, patienceMs: PROMOTION_PATIENCE_MS });
    context.logger.info({ member: labelOf(member), id: hex(member.id) }, 'a learner was promoted');
    return member;
  });
  // It votes when it has heard of that itself.
  const sight = await untilCaughtUp({ access, context, memberId: done.id, name: labelOf(done), timeoutMs: PROMOTION_PATIENCE_MS });
  return { member: sight.members.find(({ id }) => id === done.id) ?? done, sight };
}

async function remove(
  request: Extract<MemberRequest, { action: 'remove' }>,
  before: MembershipSight,
  context: JobContext,
): Promise<MemberResult> {
  const cluster = clusterOf(context.config, request.cluster);
  const access = accessOf(cluster);
  return withMemberLock(cluster, before, `removing ${request.member} from ${request.cluster}`, context, async (confirm) => {
    const seen = await lookAtMembers({ access, signal: context.signal });
    const member = memberNamed(seen, request.member);
    stopAtGates(gatesFor(seen, { kind: 'remove', member }));
    await confirm();
    const sight = await handOver(seen, member, { access, context });
    context.progress({ step: 'remove', subject: labelOf(member), message: `removing ${labelOf(member)} (${hex(member.id)})` });
    await removeMember(sight, member.id, { access, context });
    context.logger.info({ member: labelOf(member), id: hex(member.id) }, 'a member was removed');
    const after = await lookAtMembers({ access, signal: context.signal });
    return { action: 'remove', outcome: 'done', member, start: undefined, hashes: undefined, sight: after };
  });
}

async function hashesOf(sight: MembershipSight, clusterName: string, context: JobContext): Promise<HashComparison> {
  const access = accessOf(clusterOf(context.config, clusterName));
  return compareHashes(sight, { access, context });
}

/** What was shown may have changed since: the gates are asked again with the lock in hand. */
function stopAtGates(gates: readonly MemberGate[]): void {
  const [first, ...more] = refusedBy(gates);
  if (first === undefined) return;
  const sentence = [first, ...more].map(({ rule, message }) => `${rule}: ${message}`).join('; ');
  throw new WardenError('refused', sentence, { hint: first.hint });
}

/**
 * By name, id, client address or peer URL.
 * @throws WardenError `member-missing`; `usage` when it is the name of several
 */
export function memberNamed(sight: MembershipSight, given: string): SeenMember {
  const wanted = given.trim().replace(/\/+$/, '');
  const bare = (url: string): string => url.replace(/^\w+:\/\//, '').replace(/\/+$/, '');
  const byId = sight.members.find(
    ({ id }) =>
      hex(id) ===
      wanted
        .toLowerCase()
        .replace(/^0x/, '')
        .replace(/^0+(?=.)/, ''),
  );
  const found =
    byId === undefined
      ? sight.members.filter(
          (member) => member.name === wanted || [...member.clientUrls, ...member.peerUrls].some((url) => bare(url) === bare(wanted)),
        )
      : [byId];
  const [only, another] = found;
  if (only !== undefined && another === undefined) return only;
  const all = sight.members.map((member) =>
    member.name === '' ? `${hex(member.id)} (never started, ${member.peerUrls.join(', ')})` : `${member.name} (${hex(member.id)})`,
  );
  throw new WardenError(
    only === undefined ? 'member-missing' : 'usage',
    only === undefined ? `there is no member ${given}` : `${given} is the name of several members: use the id`,
    {
      hint: `members are: ${all.join(', ')}`,
    },
  );
}
