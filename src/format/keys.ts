/**
 * Names of objects below a store's prefix, all under `<cluster>/`:
 *
 *     <id>.db.zst[.age]                                   the data
 *     <id>.index.zst[.age]                                its key index (reserved)
 *     <id>.r<revision>.json                               the manifest, written last, deleted first
 *     checks/<id>/<UTC>-<kind>[-<random>].json            later facts about a backup
 *     checks/generations/<UTC>-<kind>[-<random>].json     facts about generations
 *     changes/                                            reserved
 *
 * {@link parseKey} is the only gate from names found in a store to anything that is done with them: what it does not know is foreign, and is
 * never read, counted or deleted. We always write the random part of a check (two daemons may judge in the same millisecond) and do without it on reading.
 */
import { newSuffix, isId, isSuffix, stampOf, timeOfStamp, type RandomBytes } from './ids.ts';
import type { Acceptance, CheckKind } from './types.ts';

export type Encryption = 'none' | 'age';

export type ParsedKey =
  | { readonly type: 'data' | 'index'; readonly cluster: string; readonly id: string; readonly encryption: Encryption }
  | { readonly type: 'manifest'; readonly cluster: string; readonly id: string; readonly revision: string }
  | { readonly type: 'check'; readonly cluster: string; readonly id: string; readonly timeMs: number; readonly kind: CheckKind }
  | { readonly type: 'acceptance'; readonly cluster: string; readonly timeMs: number; readonly kind: Acceptance['kind'] }
  | { readonly type: 'changes'; readonly cluster: string };

export const CHECK_KINDS = ['verify', 'drill', 'suspect', 'hold', 'release'] as const satisfies readonly CheckKind[];
export const ACCEPTANCE_KINDS = ['accept', 'restore', 'release'] as const satisfies readonly Acceptance['kind'][];

/** Clusters and stores: safe as a path segment, a label and part of a key on every system. */
export const NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;

const MAX_INT64 = 2n ** 63n - 1n;
const DECIMAL = /^(?:0|[1-9]\d{0,18})$/;

/** A revision, term or the like as text: int64, not negative, no leading zero. */
export function isDecimal(text: string): boolean {
  return DECIMAL.test(text) && BigInt(text) <= MAX_INT64;
}

export function dataKey(cluster: string, id: string, encryption: Encryption): string {
  return `${cluster}/${id}.db.zst${encryption === 'age' ? '.age' : ''}`;
}

export function indexKey(cluster: string, id: string, encryption: Encryption): string {
  return `${cluster}/${id}.index.zst${encryption === 'age' ? '.age' : ''}`;
}

export function manifestKey(cluster: string, id: string, revision: string): string {
  return `${cluster}/${id}.r${revision}.json`;
}

/** A fresh name for a fact found at `time`. */
export function checkKey(cluster: string, id: string, time: Date, kind: CheckKind, random: RandomBytes): string {
  return `${checksPrefix(cluster, id)}${stampOf(time)}-${kind}-${newSuffix(random)}.json`;
}

export function acceptanceKey(cluster: string, time: Date, kind: Acceptance['kind'], random: RandomBytes): string {
  return `${cluster}/checks/generations/${stampOf(time)}-${kind}-${newSuffix(random)}.json`;
}

/** Everything that belongs to a cluster. The slash keeps `prod` and `prod-2` apart. */
export function clusterPrefix(cluster: string): string {
  return `${cluster}/`;
}

/** Data, index and manifest of one backup. */
export function backupPrefix(cluster: string, id: string): string {
  return `${cluster}/${id}.`;
}

export function checksPrefix(cluster: string, id: string): string {
  return `${cluster}/checks/${id}/`;
}

/** What a key names, or undefined when it is not a name that we give. */
export function parseKey(key: string): ParsedKey | undefined {
  const segments = key.split('/');
  const cluster = segments[0]!;
  if (!NAME.test(cluster)) return undefined;
  if (segments.length === 2) return parseObject(cluster, segments[1]!);
  if (segments[1] === 'changes') return { type: 'changes', cluster };
  if (segments[1] === 'checks' && segments.length === 4) return parseFact(cluster, segments[2]!, segments[3]!);
  return undefined;
}

function parseObject(cluster: string, name: string): ParsedKey | undefined {
  const dot = name.indexOf('.');
  const id = name.slice(0, dot);
  if (dot < 0 || !isId(id)) return undefined;
  const ending = name.slice(dot);
  switch (ending) {
    case '.db.zst':
    case '.db.zst.age':
      return { type: 'data', cluster, id, encryption: ending.endsWith('.age') ? 'age' : 'none' };
    case '.index.zst':
    case '.index.zst.age':
      return { type: 'index', cluster, id, encryption: ending.endsWith('.age') ? 'age' : 'none' };
    default: {
      const revision = /^\.r(\d+)\.json$/.exec(ending)?.[1];
      return revision !== undefined && isDecimal(revision) ? { type: 'manifest', cluster, id, revision } : undefined;
    }
  }
}

function parseFact(cluster: string, subject: string, name: string): ParsedKey | undefined {
  const parts = /^([^-]+)-([a-z]+)(?:-([^-]+))?\.json$/.exec(name);
  const timeMs = parts === null ? undefined : timeOfStamp(parts[1]!);
  if (parts === null || timeMs === undefined || (parts[3] !== undefined && !isSuffix(parts[3]))) return undefined;
  if (subject === 'generations') {
    const kind = ACCEPTANCE_KINDS.find((each) => each === parts[2]);
    return kind === undefined ? undefined : { type: 'acceptance', cluster, timeMs, kind };
  }
  const kind = CHECK_KINDS.find((each) => each === parts[2]);
  return kind === undefined || !isId(subject) ? undefined : { type: 'check', cluster, id: subject, timeMs, kind };
}
