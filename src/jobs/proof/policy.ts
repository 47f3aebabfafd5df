/**
 * Whom to ask for a proof, and at what price. A member that computes HashKV applies no writes until it has read all its data (hazard H24; measured on
 * 3.6.16, in memory: 0.47 s for 1 GB), and on the leader no lease is renewed anywhere meanwhile. So: one follower by turns, whichever member the file
 * came from; everybody once in a while, the leader last; nobody for longer than was allowed. Pure.
 */
import type { ProofConfig } from '../../config/types.ts';
import { formatDurationShort } from '../../config/units.ts';
import { hex } from '../../etcd/ids.ts';
import type { MemberStatus } from '../../etcd/types.ts';

/** Bytes per second of a member that has its data in memory (hazard H24), until a proof of our own tells better. */
const FIRST_GUESS = 2e9;
/** An answer about less is mostly the way there and back. */
const TELLING_BYTES = 64 * 1024 * 1024;
/** So many of the newest proofs speak, their median counts: one cold scan must not forbid the next proof. */
const SPEAKING = 5;
/** Older ones say little about the machine of today, and a rate that forbids every proof must be forgotten some day. */
const REMEMBERED_MS = 7 * 24 * 3_600_000;

/** A proof of an earlier backup. */
export interface PastProof {
  readonly timeMs: number;
  /** Whose hash was compared, agreeing or not. */
  readonly members: readonly string[];
  readonly tookMs: number | undefined;
  readonly bytes: number | undefined;
}

export interface ProofCircumstances {
  /** Members that answer and are of the right cluster. */
  readonly statuses: readonly MemberStatus[];
  /** Oldest first. */
  readonly history: readonly PastProof[];
  /** The oldest backup there is: without a proof, a member is due when it was never asked since then. */
  readonly sinceMs: number | undefined;
  /** Members that disagreed when they were last asked: asked each time until they agree. */
  readonly doubted: readonly string[];
  readonly config: Pick<ProofConfig, 'members' | 'allEveryMs' | 'maxStallMs'>;
  readonly nowMs: number;
  /** Stalls above the limit are allowed now. */
  readonly inWindow: boolean;
}

export interface Prover {
  /** Name, or id where it has none: as it stands in manifests. */
  readonly label: string;
  readonly status: MemberStatus;
  /** How long it will apply no writes, as far as can be told. */
  readonly predictedMs: number;
}

export type ProofPlan =
  | { readonly kind: 'refused'; readonly code: 'stall-too-long' | 'no-voter'; readonly reason: string; readonly predictedMs: number }
  | {
      readonly kind: 'ask';
      /** In the order of asking: the next one only when nobody before has answered, or when it is `due`. */
      readonly order: readonly Prover[];
      /** Labels of those that are asked whatever the others answered. */
      readonly due: ReadonlySet<string>;
      /** The longest stall of those that will be asked when all goes well. */
      readonly predictedMs: number;
    };

export function labelOf(status: Pick<MemberStatus, 'name' | 'memberId'>): string {
  return status.name === '' ? hex(status.memberId) : status.name;
}

/** Bytes per second that members were seen to hash, or the first guess. */
export function learnedRate(history: readonly PastProof[], nowMs: number): number {
  const rates = history
    .filter(({ timeMs, tookMs, bytes }) => nowMs - timeMs < REMEMBERED_MS && (tookMs ?? 0) > 0 && (bytes ?? 0) >= TELLING_BYTES)
    .slice(-SPEAKING)
    .map(({ tookMs, bytes }) => (bytes! / tookMs!) * 1000)
    .sort((a, b) => a - b);
  // The lower of two middle ones: rather too careful.
  return rates[(rates.length - 1) >> 1] ?? FIRST_GUESS;
}

export function planProof(at: ProofCircumstances): ProofPlan {
  const rate = learnedRate(at.history, at.nowMs);
  // A learner refuses (rpc not supported for learner).
  const voters = at.statuses
    .filter(({ role }) => role !== 'learner')
    .map((status): Prover => ({ label: labelOf(status), status, predictedMs: Math.round((status.dbSizeInUse / rate) * 1000) }));
  if (voters.length === 0) return { kind: 'refused', code: 'no-voter', reason: 'no voter of the cluster answers', predictedMs: 0 };
  const bearable = voters.filter(({ predictedMs }) => at.inWindow || predictedMs <= at.config.maxStallMs);
  if (bearable.length === 0) {
    const predictedMs = Math.min(...voters.map((voter) => voter.predictedMs));
    return {
      kind: 'refused',
      code: 'stall-too-long',
      reason: `a member would apply no writes for about ${formatDurationShort(predictedMs)}, proof.maxStall allows ${formatDurationShort(at.config.maxStallMs)}`,
      predictedMs,
    };
  }
  const order = bearable.toSorted((a, b) => weight(a) - weight(b) || lastAsked(a, at) - lastAsked(b, at));
  const due = new Set(order.filter((prover) => isDue(prover, at)).map(({ label }) => label));
  const expected = order.filter((prover, index) => index === 0 || due.has(prover.label));
  return { kind: 'ask', order, due, predictedMs: Math.max(...expected.map(({ predictedMs }) => predictedMs)) };
}

/** The leader last, and whoever etcd itself calls corrupt after the others of its kind. */
function weight({ status }: Prover): number {
  const corrupt = status.alarms.some(({ type, memberId }) => type === 'CORRUPT' && memberId === status.memberId);
  return (status.role === 'leader' ? 2 : 0) + (corrupt ? 1 : 0);
}

function lastAsked({ label }: Prover, { history }: ProofCircumstances): number {
  return history.findLast(({ members }) => members.includes(label))?.timeMs ?? 0;
}

/** Never on the first backup of all, which knows of nobody when it was last asked. */
function isDue(prover: Prover, at: ProofCircumstances): boolean {
  if (at.config.members === 'all' || at.doubted.includes(prover.label)) return true;
  if (at.config.allEveryMs === 0 || at.sinceMs === undefined) return false;
  return at.nowMs - Math.max(lastAsked(prover, at), at.sinceMs) >= at.config.allEveryMs;
}
