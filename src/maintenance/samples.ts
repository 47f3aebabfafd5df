/**
 * What the daemon sampled of one cluster lately, as a small file in the state folder: which revision it had at which time, from which history can be
 * kept by time, and how large the members were, from which their growth is told. A cache: a file that is gone, torn, foreign or of a newer
 * version is begun anew, never a reason not to start.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceSmallFile } from '../store/local/small-file.ts';
import type { Quota, RevisionMark } from './planner/types.ts';
import type { Samples } from './types.ts';

/** One look. */
export interface Sample {
  readonly timeMs: number;
  /** Hex; another cluster than before begins anew. */
  readonly clusterId: string;
  /** Newest that any member has. */
  readonly revision: bigint;
  /** Of the reachable members. */
  readonly sizes: readonly { readonly member: string; readonly dbSize: number; readonly dbSizeInUse: number; readonly quota: Quota }[];
}

export interface SamplesFile {
  /** Never rejects: what cannot be read is empty. */
  read(): Promise<Samples>;
  /** Adds one look and writes the file. @throws whatever the file system says; the caller logs it and goes on */
  add(sample: Sample): Promise<Samples>;
}

export const NO_SAMPLES: Samples = { clusterId: '', marks: [], sizes: [] };

const SCHEMA = 1;
const KEPT_MS = 2 * 24 * 60 * 60_000;
/** Marks that lie nearer to each other tell nothing more. */
const APART_MS = 60_000;
/** Sizes older than this are thinned out to one an hour: growth is told from days, not from minutes. */
const DENSE_MS = 3 * 60 * 60_000;
const SPARSE_MS = 60 * 60_000;
/** Of one look; etcd advises against more than seven members. */
const MOST_MEMBERS = 16;
/** Two days of marks and of the sizes of sixteen members are some 150 KB. */
const LONGEST_FILE = 1024 * 1024;
const SOURCES = ['status', 'metrics', 'configured', 'default'] as const;

/**
 * The samples with one more look among them. Pure. Times and revisions rise from mark to mark: a revision that went down is a restored cluster, whose
 * times tell nothing of the revisions before, and a mark from the future was made by a clock that has been put right since.
 */
export function withSample(before: Samples, sample: Sample): Samples {
  const { timeMs, clusterId, revision } = sample;
  const marked = before.marks.filter((mark) => mark.timeMs < timeMs && mark.timeMs > timeMs - KEPT_MS);
  const newest = marked.at(-1);
  const restored = before.clusterId !== clusterId || before.marks.some((mark) => mark.timeMs <= timeMs && mark.revision > revision);
  const marks = restored ? [] : marked;
  const again = !restored && newest !== undefined && timeMs - newest.timeMs < APART_MS;
  const sizes = restored && before.clusterId !== clusterId ? [] : thinned(before.sizes, timeMs);
  return {
    clusterId,
    marks: again ? marks : [...marks, { timeMs, revision }],
    sizes: again ? sizes : [...sizes, ...sample.sizes.slice(0, MOST_MEMBERS).map((size) => ({ timeMs, ...size }))],
  };
}

function thinned(sizes: Samples['sizes'], nowMs: number): Samples['sizes'] {
  const last = new Map<string, number>();
  return sizes.filter(({ timeMs, member }) => {
    const ageMs = nowMs - timeMs;
    if (ageMs <= 0 || ageMs >= KEPT_MS) return false;
    if (ageMs < DENSE_MS) return true;
    if (timeMs - (last.get(member) ?? -Infinity) < SPARSE_MS) return false;
    last.set(member, timeMs);
    return true;
  });
}

/** @param cluster its name in the configuration */
export function samplesFile(stateDir: string, cluster: string): SamplesFile {
  const path = join(stateDir, 'samples', `${cluster}.json`);
  return {
    read: () => readSamples(path, cluster),
    async add(sample) {
      const samples = withSample(await readSamples(path, cluster), sample);
      // Not synced: after a power cut an empty or older file costs a few marks.
      await replaceSmallFile(path, `${JSON.stringify(packed(samples, cluster))}\n`, { synced: false });
      return samples;
    },
  };
}

async function readSamples(path: string, cluster: string): Promise<Samples> {
  try {
    if ((await stat(path)).size > LONGEST_FILE) return NO_SAMPLES;
    return unpacked(JSON.parse(await readFile(path, 'utf8')), cluster) ?? NO_SAMPLES;
  } catch {
    return NO_SAMPLES;
  }
}

/** Rows instead of objects: the file is written every few minutes. */
function packed({ clusterId, marks, sizes }: Samples, cluster: string): unknown {
  return {
    schema: SCHEMA,
    cluster,
    clusterId,
    marks: marks.map(({ timeMs, revision }) => [timeMs, String(revision)]),
    sizes: sizes.map(({ timeMs, member, dbSize, dbSizeInUse, quota }) => [
      timeMs,
      member,
      dbSize,
      dbSizeInUse,
      quota.bytes ?? null,
      quota.source,
    ]),
  };
}

function unpacked(value: unknown, name: string): Samples | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { schema, cluster, clusterId, marks, sizes } = value as Record<string, unknown>;
  if (schema !== SCHEMA || cluster !== name || typeof clusterId !== 'string' || !Array.isArray(marks) || !Array.isArray(sizes))
    return undefined;
  const read = { clusterId, marks: marks.map(markOf), sizes: sizes.map(sizeOf) };
  return read.marks.every(isThere) && read.sizes.every(isThere)
    ? { clusterId, marks: read.marks.filter(isThere), sizes: read.sizes.filter(isThere) }
    : undefined;
}

function markOf(row: unknown): RevisionMark | undefined {
  if (!Array.isArray(row)) return undefined;
  const [timeMs, revision] = row as unknown[];
  return isTime(timeMs) && typeof revision === 'string' && /^\d{1,19}$/.test(revision) ? { timeMs, revision: BigInt(revision) } : undefined;
}

function sizeOf(row: unknown): Samples['sizes'][number] | undefined {
  if (!Array.isArray(row)) return undefined;
  const [timeMs, member, dbSize, dbSizeInUse, bytes, source] = row as unknown[];
  const known = SOURCES.find((one) => one === source);
  if (!isTime(timeMs) || typeof member !== 'string' || !isSize(dbSize) || !isSize(dbSizeInUse) || known === undefined) return undefined;
  if (bytes !== null && !isSize(bytes)) return undefined;
  return { timeMs, member, dbSize, dbSizeInUse, quota: { bytes: bytes ?? undefined, source: known } };
}

function isThere<T>(value: T | undefined): value is T {
  return value !== undefined;
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 8.64e15;
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
