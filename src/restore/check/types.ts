/** What asking a restored cluster brings to light. */

/**
 * `restored`: every member of the record answered everything, and all of it is as recorded.
 * `agreed`: clients have compacted (or, with some releases, written) past what the record holds; only that the members agree with each other was proved.
 * `waiting`: not everybody had answered when the time was over.
 * `differs`: something is not as recorded.
 * `inconclusive`: a hash differs that proves nothing, or agreement could not be shown.
 */
export type RestoredOutcome = 'restored' | 'agreed' | 'waiting' | 'differs' | 'inconclusive';

/** What is known of one member of the record. */
export interface RestoredMember {
  /** Hex. */
  readonly id: string;
  readonly name: string;
  /** Where it answered. */
  readonly endpoint: string | undefined;
  readonly version: string | undefined;
  /** Decimal. Of its newest answer. */
  readonly revision: string | undefined;
  readonly compactRevision: string | undefined;
  readonly hash: number | undefined;
  /** Whether the hash at the record's revision and compact revision is the record's; undefined when it could not be compared. */
  readonly asRecorded: boolean | undefined;
  /** How long it took to hash: it applied no writes meanwhile. */
  readonly tookMs: number | undefined;
}

export interface RestoredCheck {
  readonly outcome: RestoredOutcome;
  /** In the order of the record. */
  readonly members: readonly RestoredMember[];
  /** Why it is `differs`, `waiting` or `inconclusive`, and what was past with `agreed`: sentences. */
  readonly reasons: readonly string[];
  /** What to know beside: addresses that were ignored, and why. */
  readonly notes: readonly string[];
}
