/**
 * One store's share of a catalog: lists a cluster once, reads its manifests and facts, and sorts out what is not ours. Nothing here is decided by what a
 * manifest says about names: an object counts under the name it was found at, and only if the inside agrees.
 */
import { asError, WardenError } from '../errors.ts';
import { ACCEPTANCE_MAX_BYTES, decodeAcceptance, decodeCheck, FACT_MAX_BYTES } from '../format/facts.ts';
import { clusterPrefix, manifestKey, parseKey, type ParsedKey } from '../format/keys.ts';
import { decodeManifest, MANIFEST_READ_BYTES, type DecodedManifest } from '../format/manifest.ts';
import type { Acceptance, Check, Manifest } from '../format/types.ts';
import type { ObjectInfo, Store } from '../store/types.ts';
import type { CachedObject, CachedObjects } from './cache.ts';
import { inParallel } from './parallel.ts';
import type { Oddity } from './types.ts';

/** Reads in flight at a time: hides an S3 round trip of 50 ms, and is gentle to a disk. */
const READS = 8;

/** A manifest's name in the listing, and what was read there. */
export type FoundManifest =
  | { readonly status: 'present'; readonly manifest: Manifest }
  | { readonly status: 'unreadable' | 'newer-schema'; readonly manifest: undefined };

/** A check; `check` is undefined when only its name could be read, and the worst must be assumed. */
export interface FoundCheck {
  readonly key: string;
  readonly id: string;
  readonly kind: Check['kind'];
  readonly timeMs: number;
  readonly check: Check | undefined;
}

export interface StoreScan {
  readonly store: string;
  readonly manifests: ReadonlyMap<string, FoundManifest & { readonly info: ObjectInfo }>;
  /** Data objects by key. */
  readonly data: ReadonlyMap<string, ObjectInfo>;
  readonly checks: readonly FoundCheck[];
  readonly acceptances: readonly Acceptance[];
  readonly oddities: readonly Oddity[];
  /** What the next scan need not read again. */
  readonly cacheable: CachedObjects;
}

type Listed<T extends ParsedKey['type']> = { readonly info: ObjectInfo; readonly parsed: Extract<ParsedKey, { readonly type: T }> };

/** What a read of one small object gave: its value, `gone` since it was listed, or why it cannot be read. */
type Outcome<T> = { readonly value: T } | { readonly gone: true } | { readonly problem: Error };

/** @throws whatever listing the store throws: a store that cannot be listed has no share */
export async function scanStore(store: Store, cluster: string, cached: CachedObjects, signal: AbortSignal): Promise<StoreScan> {
  const oddities: Oddity[] = [];
  const data = new Map<string, ObjectInfo>();
  const manifests: Listed<'manifest'>[] = [];
  const checks: Listed<'check'>[] = [];
  const acceptances: Listed<'acceptance'>[] = [];
  for await (const info of store.list(clusterPrefix(cluster), { signal })) {
    const parsed = parseKey(info.key);
    if (parsed === undefined) oddities.push(oddity(store, info, 'foreign', 'not a name that etcd-warden gives; left alone'));
    else if (parsed.type === 'data') data.set(info.key, info);
    else if (parsed.type === 'manifest') manifests.push({ info, parsed });
    else if (parsed.type === 'check') checks.push({ info, parsed });
    else if (parsed.type === 'acceptance') acceptances.push({ info, parsed });
  }

  const cacheable = new Map<string, CachedObject>();
  const read = reader(store, cached, cacheable, signal);

  const foundManifests = new Map<string, FoundManifest & { info: ObjectInfo }>();
  const readManifests = await inParallel(manifests, READS, signal, ({ info }) =>
    read(info, MANIFEST_READ_BYTES, (body) => decodeManifest(body)),
  );
  for (const [index, { info, parsed }] of manifests.entries()) {
    const outcome = readManifests[index]!;
    if ('gone' in outcome) continue;
    const { found, oddity: odd } = judged(store, info, cluster, outcome);
    if (odd !== undefined) oddities.push(odd);
    const earlier = foundManifests.get(parsed.id);
    // Two names for one id: the revision is part of the name, so one of them was put there by hand. Neither can be preferred.
    if (earlier !== undefined)
      oddities.push(oddity(store, info, 'unreadable-manifest', `${earlier.info.key} claims to be the same backup`));
    foundManifests.set(
      parsed.id,
      earlier === undefined ? { ...found, info } : { status: 'unreadable', manifest: undefined, info: earlier.info },
    );
  }

  const foundChecks: FoundCheck[] = [];
  const readChecks = await inParallel(checks, READS, signal, ({ info }) => read(info, FACT_MAX_BYTES, decodeCheck));
  for (const [index, { info, parsed }] of checks.entries()) {
    const outcome = readChecks[index]!;
    if ('gone' in outcome) continue;
    if ('problem' in outcome) oddities.push(oddity(store, info, 'unreadable-check', outcome.problem.message));
    foundChecks.push({
      key: info.key,
      id: parsed.id,
      kind: parsed.kind,
      timeMs: parsed.timeMs,
      check: 'value' in outcome ? outcome.value : undefined,
    });
  }

  const foundAcceptances: Acceptance[] = [];
  const readAcceptances = await inParallel(acceptances, READS, signal, ({ info }) => read(info, ACCEPTANCE_MAX_BYTES, decodeAcceptance));
  for (const [index, { info }] of acceptances.entries()) {
    const outcome = readAcceptances[index]!;
    if ('value' in outcome) foundAcceptances.push(outcome.value);
    else if ('problem' in outcome) oddities.push(oddity(store, info, 'unreadable-check', outcome.problem.message));
  }

  return { store: store.name, manifests: foundManifests, data, checks: foundChecks, acceptances: foundAcceptances, oddities, cacheable };
}

type Read = <T>(info: ObjectInfo, maxLength: number, decode: (body: Buffer, key: string) => T) => Promise<Outcome<T>>;

/** A function that reads and decodes one object, from the cache when the listing says that it has not changed since. */
function reader(store: Store, cached: CachedObjects, cacheable: Map<string, CachedObject>, signal: AbortSignal): Read {
  return async (info, maxLength, decode) => {
    const entry = cached.get(info.key);
    const modifiedMs = info.modified.getTime();
    if (entry?.size === info.size && entry.modifiedMs === modifiedMs) {
      try {
        const value = decode(entry.body, info.key);
        cacheable.set(info.key, entry);
        return { value };
      } catch {
        // What the cache holds is not what was stored: the store decides below. Nothing may depend on the cache.
      }
    }
    try {
      if (info.size > maxLength)
        throw new WardenError('manifest-invalid', `${info.key} has ${info.size} bytes, at most ${maxLength} are read`);
      const body = await store.get(info.key, { signal, maxLength });
      const value = decode(body, info.key);
      cacheable.set(info.key, { size: info.size, modifiedMs, body });
      return { value };
    } catch (thrown) {
      signal.throwIfAborted();
      const problem = asError(thrown);
      return problem instanceof WardenError && problem.code === 'object-missing' ? { gone: true } : { problem };
    }
  };
}

function judged(
  store: Store,
  info: ObjectInfo,
  cluster: string,
  outcome: Exclude<Outcome<DecodedManifest>, { readonly gone: true }>,
): { readonly found: FoundManifest; readonly oddity?: Oddity } {
  const unreadable = { status: 'unreadable', manifest: undefined } as const;
  if ('problem' in outcome) return { found: unreadable, oddity: oddity(store, info, 'unreadable-manifest', outcome.problem.message) };
  if (outcome.value.kind === 'newer-schema') {
    const detail = `written in schema ${outcome.value.schema} by a newer etcd-warden; left alone`;
    return { found: { status: 'newer-schema', manifest: undefined }, oddity: oddity(store, info, 'newer-schema', detail) };
  }
  const { manifest } = outcome.value;
  const named = manifestKey(manifest.cluster, manifest.id, manifest.revision);
  if (named === info.key) return { found: { status: 'present', manifest } };
  const kind = manifest.cluster === cluster ? 'unreadable-manifest' : 'manifest-of-another-cluster';
  return { found: unreadable, oddity: oddity(store, info, kind, `holds the manifest of ${named}: it was copied or renamed`) };
}

function oddity(store: Store, info: ObjectInfo, kind: Oddity['kind'], detail: string): Oddity {
  return { store: store.name, key: info.key, kind, detail, modified: info.modified };
}
