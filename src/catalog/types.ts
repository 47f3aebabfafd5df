import { IMPORTED_LINEAGE } from '../format/ids.ts';
import type { Acceptance, Check, Manifest, Proof } from '../format/types.ts';

/** An adopted snapshot of another tool: no backup of the cluster as far as schedules, ages and generations go. */
export function isImported({ manifest }: Pick<Backup, 'manifest'>): boolean {
  return manifest.lineage === IMPORTED_LINEAGE;
}

/** What one store holds of one backup. */
export interface Copy {
  readonly store: string;
  readonly manifest: 'present' | 'missing' | 'unreadable' | 'newer-schema';
  /** `wrong-size` = length differs from the manifest's. */
  readonly data: 'present' | 'missing' | 'wrong-size';
  /** The verify check on this store that counts, if any: the newest, unless an earlier one failed at a deeper level than was looked at since. */
  readonly check: Check | undefined;
  /** When it was last found sound at each level or deeper, ms since 1970. */
  readonly soundMs: Readonly<Partial<Record<NonNullable<Check['level']>, number>>>;
  /** Retention and people may count on this copy: it was proved, or opened and found sound, as it was taken or later, and its newest check did not fail. */
  readonly verified: boolean;
}

export interface Backup {
  readonly id: string;
  readonly cluster: string;
  readonly timeMs: number;
  /** From whichever store holds it; stores that disagree are a problem of their own. */
  readonly manifest: Manifest;
  readonly copies: readonly Copy[];
  /**
   * Computed from the stores it was meant for, never stored; a store that could not be listed counts as not having it. `damaged` = no store that answered
   * holds a whole copy.
   */
  readonly state: 'complete' | 'partial' | 'damaged';
  /** Stores it was meant for that this catalog did not ask at all (`--from`, or no longer configured): `state` says nothing of them. */
  readonly unasked: readonly string[];
  readonly held: string | undefined;
  readonly suspect: string | undefined;
  /** What members answered for its content: as it was taken, or when they were asked later. */
  readonly proof: Proof | undefined;
  /** Rehearsals of its restore, newest first; each names the store it was read from. */
  readonly drills: readonly Check[];
}

/** An object that is not (or not yet) a backup of ours. */
export interface Oddity {
  readonly store: string;
  readonly key: string;
  readonly kind:
    | 'foreign'
    | 'newer-schema'
    | 'unreadable-manifest'
    | 'unreadable-check'
    | 'data-without-manifest'
    | 'manifest-of-another-cluster'
    /** A whole manifest that is not the one that another store holds for the same backup. */
    | 'manifests-differ';
  readonly detail: string;
  readonly modified: Date;
}

export interface Generation {
  readonly lineage: string;
  readonly clusterId: string;
  readonly firstId: string;
  readonly accepted: boolean;
  /** Its newest verified backup is no longer protected. */
  readonly released: boolean;
}

/** Everything known of one cluster's backups over all stores asked. */
export interface Catalog {
  readonly cluster: string;
  /** Oldest first. */
  readonly backups: readonly Backup[];
  readonly generations: readonly Generation[];
  readonly acceptances: readonly Acceptance[];
  readonly oddities: readonly Oddity[];
  /** Stores that could not be listed, and why: the catalog is then incomplete and nothing may be pruned by it. */
  readonly unreachable: readonly { readonly store: string; readonly error: Error }[];
}
