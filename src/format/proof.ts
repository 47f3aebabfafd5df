/** What a proof says about a file. */
import type { Proof } from './types.ts';

/**
 * Whether the members' HashKV can be held against a file's: it is of the file's revision, and what the members had compacted by then the file still holds.
 * @param file its revision and compact revision, 0n when it was never compacted; a member's only grows, and it was asked after the file was taken
 */
export function isComparable(
  { revision, compactRevision }: Pick<Proof, 'revision' | 'compactRevision'>,
  file: { readonly revision: bigint; readonly compactRevision: bigint },
): boolean {
  const compacted = BigInt(compactRevision);
  return (
    BigInt(revision) === file.revision && compacted <= file.revision && (compacted >= file.compactRevision || file.compactRevision === 0n)
  );
}
