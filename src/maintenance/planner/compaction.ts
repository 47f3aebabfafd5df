/** Whether the history is to be compacted, and how far: as routine, by hand, or to cure NOSPACE. */
import { isRefused, refused, checkOf, type Check, type Decision } from './check.ts';
import { awaitCompaction, compacting } from './defragmentation.ts';
import { gatesFor } from './gates.ts';
import { compactTo } from './keep.ts';
import type { Action, Keep } from './types.ts';
import { isCompacted, type View } from './view.ts';
import { timeText } from './words.ts';

/** Fewer revisions than these are not worth a pass over the whole index of every member. */
const WORTH_REVISIONS = 1000n;
/** Nor less than this part of what is kept anyway. */
const WORTH_PART = 10n;
/** etcd compacts by itself every few minutes or hours: a compacted revision that is older than this was compacted by hand, long ago. */
const STALE_MS = 24 * 3_600_000;

/** What the daemon does by itself. */
export function routineCompaction(view: View): Decision {
  const { policy, state } = view;
  const gates = gatesFor('compaction', view);
  if (isCompacted(view)) return afterwards(view, gates);
  const left = leftToOthers(view);
  if (left !== undefined) return { checks: [...gates, left], reasons: [left], complete: true };
  const target = compactTo(policy.keep, state);
  if (target.rule !== undefined) return settled(refused(target.rule, target.message, target), gates);
  const gain = target.revision - (state.compactRevision ?? 0n);
  const kept = state.revision - target.revision;
  const worth = kept / WORTH_PART > WORTH_REVISIONS ? kept / WORTH_PART : WORTH_REVISIONS;
  if (gain < worth)
    return settled(
      refused('not-needed', `only ${gain} revisions are older than what is kept, and fewer than ${worth} are not worth a compaction`),
      gates,
    );
  return toward(target.revision, `${gain} revisions are older than ${keepText(policy.keep)}`, gates);
}

/** `compact`: as far as was asked for. */
export function askedCompaction(keep: Keep, yes: boolean, view: View): Decision {
  const gates = gatesFor('compaction', view);
  if (isCompacted(view)) return afterwards(view, gates);
  const message = 'Kubernetes compacts this cluster by itself (its key compact_rev_key exists)';
  const kubernetes = view.state.kubernetes
    ? [
        yes
          ? checkOf('kubernetes-compacts', 'overridden', `${message}; a yes goes over it`)
          : refused('kubernetes-compacts', message, { hint: 'with `--yes` it is done all the same' }),
      ]
    : [];
  const target = compactTo(keep, view.state);
  if (target.rule !== undefined) {
    const check = refused(target.rule, target.message, target);
    // A cluster whose whole history is to be kept is as was asked: somebody who asks every night is not to be alarmed.
    return { checks: [...gates, ...kubernetes, check], reasons: [check], complete: target.rule === 'keeps-everything' };
  }
  return toward(target.revision, `everything older than ${keepText(keep)} was asked to go`, [...gates, ...kubernetes]);
}

/**
 * What cures NOSPACE: once in a round, also on Kubernetes, whose own compaction begins with a put that is refused now (H25). Undefined = nothing is left
 * to compact.
 */
export function emergencyCompaction(view: View): Decision | undefined {
  const { policy, state } = view;
  if (isCompacted(view)) return undefined;
  const targets = [compactTo({ revisions: policy.emergencyKeep.revisions }, state), compactTo({ ms: policy.emergencyKeep.ms }, state)];
  const revision = targets.reduce<bigint>((most, each) => (each.revision !== undefined && each.revision > most ? each.revision : most), 0n);
  if (revision === 0n) return undefined;
  return toward(
    revision,
    `NOSPACE is armed: history beyond ${policy.emergencyKeep.revisions} revisions or ${timeText(policy.emergencyKeep.ms)} goes`,
    gatesFor('compaction', view),
  );
}

function toward(revision: bigint, why: string, checks: readonly Check[]): Decision {
  const shut = checks.filter(isRefused);
  if (shut.length > 0) return { checks, reasons: shut, complete: false };
  const action: Action = { kind: 'compact', revision: String(revision), why };
  return { action, checks, reasons: [], complete: false };
}

/** The server waits on the member that answers only, so it is over when no member's size falls any more. */
function afterwards(view: View, gates: readonly Check[]): Decision {
  const running = compacting(view);
  const checks = [...gates, running];
  if (isRefused(running)) {
    const shut = gates.filter(isRefused);
    const wait = shut.length > 0 ? {} : { action: awaitCompaction(view) };
    return { ...wait, checks, reasons: [...shut, running], complete: false };
  }
  return { checks, reasons: [refused('done', 'the history was compacted in this round')], complete: true };
}

function settled(check: Check, gates: readonly Check[]): Decision {
  return { checks: [...gates, check], reasons: [check], complete: true };
}

/** Why routine compaction is none of our business (H10). */
function leftToOthers({ policy, state }: View): Check | undefined {
  if (policy.compaction === 'off') return refused('compaction-off', 'routine compaction is switched off (maintenance.compaction)');
  if (policy.compaction === 'on') return undefined;
  if (state.kubernetes) {
    return refused('kubernetes-compacts', 'Kubernetes compacts this cluster by itself (its key compact_rev_key exists)', {
      hint: '`maintenance.compaction: on` does it all the same',
    });
  }
  const { compactRevision } = state;
  if (compactRevision === undefined) {
    return refused(
      'compact-revision-unknown',
      'what was compacted before cannot be learned, so nobody knows whether etcd compacts by itself',
      { hint: '`maintenance.compaction: on` or `off` decides it' },
    );
  }
  const ours = state.past.compaction?.revision ?? 0n;
  const isStale = state.marks.some(
    ({ timeMs, revision }) => revision >= compactRevision && revision <= state.revision && state.nowMs - timeMs >= STALE_MS,
  );
  if (compactRevision <= ours || isStale) return undefined;
  return refused(
    'etcd-compacts',
    `etcd, or somebody else, compacts this cluster: up to revision ${compactRevision}, and we only to ${ours}`,
    { hint: '`maintenance.compaction: on` does it all the same' },
  );
}

function keepText(keep: Keep): string {
  return 'revisions' in keep ? `the newest ${keep.revisions === 1 ? 'revision' : `${keep.revisions} revisions`}` : timeText(keep.ms);
}
