/**
 * The record as JSON, in etcd below our prefix and in the state folder:
 *
 *   { "schema": 1, "clusterId": "<hex>", "compaction": { "atMs", "revision": "<decimal>" }, "defrags": { "<member id, hex>": { "atMs", "tookMs", ... } },
 *     "disarmedMs", "failure": { "atMs", "count", "rule", "reason" } }
 *
 * The cluster is named in the file alone: without a configuration every cluster has the same name, and so the same file.
 * Whatever is not exactly this is no record: what it would tell is only when something was done last, and doing it once more is safe.
 */
import type { PastDefrag } from '../planner/types.ts';
import type { Entries } from './entries.ts';

/** Readers leave newer ones alone. */
export const RECORD_SCHEMA = 1;
/** Some hundred bytes a member are what we write; etcd is no place for more. */
export const LONGEST_RECORD = 16 * 1024;

/** @param clusterId hex */
export function encodeRecord({ compaction, defrags, disarmedMs, failure }: Entries, clusterId?: string): string {
  return JSON.stringify({
    schema: RECORD_SCHEMA,
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(compaction === undefined ? {} : { compaction: { atMs: compaction.atMs, revision: String(compaction.revision) } }),
    defrags,
    ...(disarmedMs === undefined ? {} : { disarmedMs }),
    ...(failure === undefined ? {} : { failure }),
  });
}

/** @returns the entries, or in a few words why it is none of ours; `newer` when it is one of a later version, which must not be overwritten */
export function decodeRecord(
  text: string,
): { readonly entries: Entries; readonly clusterId: string | undefined } | { readonly reason: string; readonly newer: boolean } {
  if (text.length > LONGEST_RECORD) return foreign(`it is longer than ${LONGEST_RECORD} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return foreign('it is no JSON');
  }
  if (!isObject(value) || typeof value['schema'] !== 'number') return foreign('it has no schema');
  if (value['schema'] > RECORD_SCHEMA) return { reason: `its schema is ${value['schema']}, of a later version`, newer: true };
  if (value['schema'] !== RECORD_SCHEMA) return foreign(`its schema is ${value['schema']}`);
  const compaction = optional(value['compaction'], compactionOf);
  const defrags = defragsOf(value['defrags']);
  const disarmedMs = optional(value['disarmedMs'], time);
  const failure = optional(value['failure'], failureOf);
  if (compaction === 'bad' || defrags === undefined || disarmedMs === 'bad' || failure === 'bad') return foreign('an entry is damaged');
  const clusterId = typeof value['clusterId'] === 'string' ? value['clusterId'] : undefined;
  return { entries: { compaction, defrags, disarmedMs, failure }, clusterId };
}

function foreign(reason: string): { readonly reason: string; readonly newer: boolean } {
  return { reason, newer: false };
}

function optional<T>(value: unknown, parse: (value: unknown) => T | undefined): T | undefined | 'bad' {
  return value === undefined ? undefined : (parse(value) ?? 'bad');
}

function compactionOf(value: unknown): Entries['compaction'] {
  if (!isObject(value) || typeof value['revision'] !== 'string' || !/^\d{1,19}$/.test(value['revision'])) return undefined;
  const atMs = time(value['atMs']);
  return atMs === undefined ? undefined : { atMs, revision: BigInt(value['revision']) };
}

function defragsOf(value: unknown): Record<string, PastDefrag> | undefined {
  if (!isObject(value)) return undefined;
  const defrags: [string, PastDefrag][] = [];
  for (const [member, entry] of Object.entries(value)) {
    if (!/^[0-9a-f]{1,16}$/.test(member) || !isObject(entry)) return undefined;
    const atMs = time(entry['atMs']);
    const [tookMs, beforeBytes, afterBytes, inUseBytes] = ['tookMs', 'beforeBytes', 'afterBytes', 'inUseBytes'].map((name) =>
      amount(entry[name]),
    );
    if (atMs === undefined || tookMs === undefined || beforeBytes === undefined) return undefined;
    const rates = optional(entry['rates'], ratesOf);
    if (afterBytes === undefined || inUseBytes === undefined || rates === 'bad') return undefined;
    defrags.push([member, { atMs, tookMs, beforeBytes, afterBytes, inUseBytes, ...(rates === undefined ? {} : { rates }) }]);
  }
  return Object.fromEntries(defrags);
}

function ratesOf(value: unknown): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const rates = value.flatMap((each) => amount(each) ?? []).filter((each) => each > 0);
  return rates.length === value.length ? rates : undefined;
}

function failureOf(value: unknown): Entries['failure'] {
  if (!isObject(value)) return undefined;
  const { rule, reason } = value;
  const atMs = time(value['atMs']);
  const count = amount(value['count']);
  if (atMs === undefined || count === undefined || typeof rule !== 'string' || typeof reason !== 'string') return undefined;
  return { atMs, count, rule, reason };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Within what a Date can hold. */
function time(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 8.64e15 ? value : undefined;
}

function amount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}
