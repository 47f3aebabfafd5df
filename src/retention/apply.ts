/**
 * What goes and what stays on one store, with the reasons for each. Rules decide what is wanted; guards decide what may go, and stand above the rules: the
 * last backup that can be counted on never goes, whatever a policy says. Pure: the same input gives the same verdicts, and applying it again to what
 * is left removes nothing more (but for the cap).
 *
 * Each generation has the rules to itself. An earlier generation that was released is counted after the later ones instead, so that it grows old and
 * goes as if it were one history.
 */
import { isEmptyPolicy, isGood, reasonsByRule } from './rules.ts';
import type { RetentionBackup, RetentionInput, RetentionVerdict } from './types.ts';

/** Guards do not ask the rules. */
type GuardInput = Omit<RetentionInput, 'policy'>;

/** What the guards look at: everything that counts beside the backup at hand. */
interface Context {
  readonly input: GuardInput;
  readonly lineage: string;
  /** Place among the generations, -1 = not known. */
  readonly generation: number;
  readonly isCurrent: boolean;
  readonly isReleased: boolean;
  /** What the rules count, newest first: its own backups, and for a released generation those of later ones. */
  readonly sequence: readonly RetentionBackup[];
  /** Those of them whose existence may justify a removal. */
  readonly good: readonly RetentionBackup[];
}

/** Why a backup must stay whatever the rules say; each gives its reasons, none when it has no objection. */
const GUARDS: readonly ((backup: RetentionBackup, context: Context) => readonly string[])[] = [
  ({ id }, { input }) => input.pins.filter((pin) => pin.id === id).map(({ reason }) => reason),
  ({ timeMs }, { input }) => (timeMs > input.nowMs ? ['dated in the future'] : []),
  (_, { generation }) => (generation < 0 ? ['of a generation that is not known'] : []),
  (_, { generation, input }) =>
    input.generations.some(({ accepted }, index) => index > generation && !accepted) ? ['a later generation is not accepted yet'] : [],
  ({ id }, { good, isCurrent, isReleased }) => {
    if (good[0]?.id !== id) return [];
    if (!isCurrent && !isReleased) return ['the newest verified backup of an earlier generation'];
    return [good.length === 1 ? 'the last verified backup' : 'the newest verified backup'];
  },
  ({ timeMs, id }, { good }) => (good[0] === undefined || isOlder(good[0], { timeMs, id }) ? ['no newer verified backup exists'] : []),
];

/** One verdict for each backup, oldest first. */
export function applyRetention(input: RetentionInput): RetentionVerdict[] {
  const contexts = contextsOf(input);
  const wanted = new Map(contexts.flatMap(({ lineage, sequence }) => rulesFor(lineage, sequence, input)));
  const empty = isEmptyPolicy(input.policy) ? ['no rule is set'] : [];
  let removals = 0;
  return newestFirst(input.backups)
    .reverse()
    .map((backup): RetentionVerdict => {
      const { id } = backup;
      const context = contextFor(backup, contexts, input);
      const reasons = [...guardsOf(backup, context), ...(wanted.get(id) ?? []), ...empty];
      if (reasons.length > 0) return { id, action: 'keep', reasons };
      const why = `no rule keeps it, and ${context.good[0]!.id} is newer and verified`;
      const state = isGood(backup) ? [] : [backup.suspect ? 'suspect' : 'not verified'];
      if (removals >= input.policy.maxRemovals) {
        return {
          id,
          action: 'keep',
          reasons: [`goes in a later run: at most ${input.policy.maxRemovals} are removed in one`, ...state, why],
        };
      }
      removals += 1;
      return { id, action: 'remove', reasons: [...state, why] };
    });
}

/** Why a backup must not be removed whatever the rules say; `delete` asks this before it does what a person wants. Empty = it may go. */
export function guardsAgainst(input: GuardInput, id: string): readonly string[] {
  const backup = input.backups.find((each) => each.id === id);
  return backup === undefined ? [] : guardsOf(backup, contextFor(backup, contextsOf(input), input));
}

/**
 * Whether a backup that is not on this store yet would stay there if it were: a copy that the next run removes again need not be made.
 */
export function wouldKeep(input: RetentionInput, candidate: RetentionBackup): boolean {
  const backups = [...input.backups.filter(({ id }) => id !== candidate.id), candidate];
  const uncapped = { ...input.policy, maxRemovals: Number.MAX_SAFE_INTEGER };
  return applyRetention({ ...input, backups, policy: uncapped }).some(({ id, action }) => id === candidate.id && action === 'keep');
}

function guardsOf(backup: RetentionBackup, context: Context): string[] {
  return GUARDS.flatMap((objections) => objections(backup, context));
}

function contextsOf(input: GuardInput): Context[] {
  // A backup from the future neither takes places nor justifies removals: the clock was wrong when it was made, or is wrong now.
  const counted = newestFirst(input.backups.filter(({ timeMs }) => timeMs <= input.nowMs));
  return input.generations.map(({ lineage, released }, generation) => {
    const isCurrent = generation === input.generations.length - 1;
    const counts = new Set(
      input.generations.filter((_, index) => index === generation || (released && index > generation)).map((each) => each.lineage),
    );
    const sequence = counted.filter((backup) => counts.has(backup.lineage));
    return { input, lineage, generation, isCurrent, isReleased: released, sequence, good: sequence.filter(isGood) };
  });
}

function contextFor({ lineage }: RetentionBackup, contexts: readonly Context[], input: GuardInput): Context {
  return (
    contexts.find((each) => each.lineage === lineage) ?? {
      input,
      lineage,
      generation: -1,
      isCurrent: false,
      isReleased: false,
      sequence: [],
      good: [],
    }
  );
}

/** The rules' reasons for the backups of one generation, seen in the sequence that counts for it. */
function rulesFor(lineage: string, sequence: readonly RetentionBackup[], { policy }: RetentionInput): [string, string[]][] {
  const own = new Set(sequence.filter((backup) => backup.lineage === lineage).map(({ id }) => id));
  return [...reasonsByRule(sequence, policy)].filter(([id]) => own.has(id));
}

function newestFirst(backups: readonly RetentionBackup[]): RetentionBackup[] {
  return [...backups].sort((a, b) => (isOlder(a, b) ? 1 : -1));
}

/** By time, and by id within a millisecond; never by revision. */
function isOlder(a: Pick<RetentionBackup, 'timeMs' | 'id'>, b: Pick<RetentionBackup, 'timeMs' | 'id'>): boolean {
  return a.timeMs === b.timeMs ? a.id < b.id : a.timeMs < b.timeMs;
}
