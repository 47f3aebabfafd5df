/** Numbers of the S3 store that are no configuration, in one place; tests make some of them small. */
export interface Tuning {
  /** Smallest part, bytes. S3 itself asks for 5 MiB. */
  readonly partBytes: number;
  /** Most parts of one upload: S3 allows 10 000, and an estimate of the length may be a little short. */
  readonly maxParts: number;
  readonly partsInFlight: number;
  /** Bytes per second below which a transfer counts as stalled. */
  readonly minRate: number;
  /** First and longest pause between attempts, ms; the real one lies at random between half of it and all. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** How long giving up may take: aborting a multipart upload after a failure or a signal, ms. */
  readonly abandonMs: number;
}

export const TUNING: Tuning = {
  partBytes: 8 << 20,
  maxParts: 9000,
  partsInFlight: 2,
  minRate: 32 << 10,
  firstPauseMs: 250,
  longestPauseMs: 20_000,
  abandonMs: 10_000,
};

/** Part size for a file of at most `maxLength` bytes, a multiple of 1 MiB. */
export function partSizeFor(maxLength: number, tuning: Tuning): number {
  const even = Math.ceil(maxLength / tuning.maxParts);
  return even <= tuning.partBytes ? tuning.partBytes : Math.ceil(even / (1 << 20)) * (1 << 20);
}
