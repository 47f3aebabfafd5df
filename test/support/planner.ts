/** Policies, wishes and clusters for tests of the planner of maintenance. */
import type { ClusterState, MemberState, Plan, Policy, Refusal, Rule, Wish } from '../../src/maintenance/planner/types.ts';
import { clusterState, memberState, NOW_MS } from './plans.ts';

export const MIB = 1024 * 1024;
export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;

/** The defaults of the configuration. */
export const POLICY: Policy = {
  compaction: 'auto',
  keep: { ms: HOUR_MS },
  emergencyKeep: { revisions: 10_000, ms: 10 * MINUTE_MS },
  quotaShare: 0.8,
  freeShare: 0.45,
  minFree: 200 * MIB,
  minGain: 32 * MIB,
  cooldownMs: 6 * HOUR_MS,
  maxFreezeMs: 20_000,
  allowSingleMember: false,
  allowHazardousVersions: false,
  restartQuietMs: 10 * MINUTE_MS,
  maxLag: 1000n,
  disarmEveryMs: HOUR_MS,
};

export const ROUTINE: Wish = { kind: 'routine', since: NOW_MS };
export const DISARM: Wish = { kind: 'disarm', since: NOW_MS, yes: true };

export function defragWish(changes: Partial<Wish & { kind: 'defrag' }> = {}): Wish & { kind: 'defrag' } {
  return { kind: 'defrag', since: NOW_MS, members: 'all', worthwhile: false, degraded: false, yes: false, ...changes };
}

export function compactWish(keep: (Wish & { kind: 'compact' })['keep'], yes = true): Wish {
  return { kind: 'compact', since: NOW_MS, keep, yes };
}

/** Nothing to give back, and far from the quota. */
export const TIDY: Partial<MemberState> = { dbSize: 320 * MIB, dbSizeInUse: 300 * MIB };

/** `m1` (id `1a`), which leads, and so on; all of them worth a defragmentation unless changed. `each` goes by the number of the member, from 1. */
export function clusterOf(
  count: number,
  { each = () => ({}), ...changes }: Partial<ClusterState> & { each?: (number: number) => Partial<MemberState> } = {},
): ClusterState {
  const members = Array.from({ length: count }, (_, index) => memberState(`m${index + 1}`, each(index + 1)));
  return clusterState(members, { lock: { state: 'held', detail: undefined, elected: true }, compactRevision: 4900n, ...changes });
}

/** Out of space: every member is above its quota, half of that is history. */
export function fullCluster(count: number, { each = () => ({}), ...changes }: Parameters<typeof clusterOf>[1] = {}): ClusterState {
  return clusterOf(count, {
    each: (number) => ({ dbSize: 2050 * MIB, dbSizeInUse: 1000 * MIB, ...each(number) }),
    alarms: [{ type: 'NOSPACE', memberId: '1a' }],
    lock: { state: 'without', detail: undefined, elected: true },
    ...changes,
  });
}

/** Why not. That etcd compacts by itself, as it does on these clusters, is left out: it is said of every routine round. */
export function reasonsOf({ refusals }: Pick<Plan, 'refusals'>): Refusal[] {
  return refusals.filter(({ rule }) => rule !== 'etcd-compacts');
}

/** The rules that refuse, without doubles, in their order. */
export function rulesOf(made: Pick<Plan, 'refusals'>): Rule[] {
  return [...new Set(reasonsOf(made).map(({ rule }) => rule))];
}

export function verdictOf({ gates }: Pick<Plan, 'gates'>, rule: Rule): string | undefined {
  return gates.find((gate) => gate.rule === rule)?.verdict;
}

/** What a plan says to do, in short: `defrag 2a`, `move 1a>3a`, `compact 4000`. */
export function inShort({ action }: Pick<Plan, 'action'>): string | undefined {
  switch (action?.kind) {
    case undefined:
      return undefined;
    case 'compact':
      return `compact ${action.revision}`;
    case 'await-compaction':
      return `await ${action.members.join(' ')}`;
    case 'move-leader':
      return `move ${action.from}>${action.to}`;
    case 'defrag':
      return `defrag ${action.member}${action.leads ? ' leading' : ''}`;
    case 'disarm':
      return `disarm ${action.members.join(' ')}${action.orphans ? ' orphans' : ''}`;
  }
}

export function stepsOf({ steps }: Pick<Plan, 'steps'>): (string | undefined)[] {
  return steps.map(({ action }) => inShort({ action }));
}
