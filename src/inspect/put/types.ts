/** Keys of a backup on their way back to a live cluster. */
import type { KeyEntry, KeyRevision } from '../types.ts';

/** A key that the live cluster does not hold as the backup does. */
export interface Change {
  readonly kind: 'added' | 'changed';
  readonly entry: KeyEntry;
  /** What of the entry is put. */
  readonly revision: KeyRevision;
  /** Mod revision of the live key when it was shown; 0n = it was absent. */
  readonly liveModRevision: bigint;
  /** Bytes of the live value; 0 when it was absent. */
  readonly liveBytes: number;
  /** The lease that the live key hangs on; 0n = none. */
  readonly liveLease: bigint;
  /** The lease of the backup, where it was asked for and still lives. A changed key keeps its live lease otherwise. */
  readonly lease: bigint | 'keep';
  /** For people: one line, masked and free of control characters. */
  readonly preview: string;
}

export interface PutPlan {
  /** In the order of the keys. */
  readonly changes: readonly Change[];
  /** Keys that are equal already. */
  readonly same: number;
  readonly kubernetes: KubernetesFindings;
  /** Keys that had a lease in the backup and are put without: not asked for, or (`goneLeases`) because it no longer lives. */
  readonly keptOutLeases: number;
  readonly goneLeases: number;
  /** Keys that are left out because they are our own. */
  readonly own: number;
}

export interface KubernetesFindings {
  /** Changed keys that look like an API server's. */
  readonly keys: number;
  /** Of these, values that its encryption at rest has sealed. */
  readonly encrypted: number;
}

/** What became of one change. */
export interface Put {
  readonly change: Change;
  /**
   * `already-there`: somebody put the same value meanwhile, or an earlier try of ours did; `conflict`: it is neither as it was shown nor equal;
   * `not-tried`: an earlier failure or a signal ended the work.
   */
  readonly outcome: 'put' | 'already-there' | 'conflict' | 'failed' | 'not-tried';
  readonly reason?: string;
}
