/** What one rule says: a gate, and what a refusal needs besides. */
import type { Action, Gate, Refusal, Rule } from './types.ts';

/** What is about to be done; moving the leader is part of a defragmentation. `orphans`: to disarm alarms of members that are gone. */
export type Purpose = 'defrag' | 'compaction' | 'disarm' | 'orphans';

export interface Check extends Gate {
  readonly hint?: string;
  /** When the reason may have gone by itself. */
  readonly againMs?: number;
}

/** What a concern has to say: something to do, or why not. */
export interface Decision {
  readonly action?: Action;
  /** Everything that was asked, in a stable order, the passed ones too. */
  readonly checks: readonly Check[];
  /** Those that explain why nothing, or not everything, is done. */
  readonly reasons: readonly Check[];
  /** Nothing is left that is wanted and worth it. */
  readonly complete: boolean;
}

interface More {
  readonly member?: string | undefined;
  readonly hint?: string | undefined;
  readonly againMs?: number | undefined;
}

export function checkOf(rule: Rule, verdict: Gate['verdict'], message: string, { member, hint, againMs }: More = {}): Check {
  return { rule, member, verdict, message, ...(hint === undefined ? {} : { hint }), ...(againMs === undefined ? {} : { againMs }) };
}

export function passed(rule: Rule, message: string): Check {
  return checkOf(rule, 'passed', message);
}

export function refused(rule: Rule, message: string, more: More = {}): Check {
  return checkOf(rule, 'refused', message, more);
}

export function isRefused({ verdict }: Check): boolean {
  return verdict === 'refused';
}

export function refusalOf({ rule, member, message, hint }: Check): Refusal {
  return { rule, member, message, ...(hint === undefined ? {} : { hint }) };
}

export function gateOf({ rule, member, verdict, message }: Check): Gate {
  return { rule, member, verdict, message };
}

/** All of the first, and of the others what the first says nothing of. */
export function joined(first: readonly Check[], others: readonly Check[]): readonly Check[] {
  return [...first, ...others.filter(({ rule }) => !first.some((each) => each.rule === rule))];
}
