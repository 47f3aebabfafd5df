/** Whether revisions are raised, and to where. Pure. */
import { WardenError } from '../../errors.ts';
import { RAISED_FROM } from '../../mvcc/head.ts';
import type { Content } from '../types.ts';

/**
 * What etcd's documentation names for Kubernetes: a week at 1500 writes a second. Clients must never have seen a revision of the cluster that is gone above
 * the one that the restored cluster begins with.
 */
export const DEFAULT_RAISE = 1_000_000_000n;

/** etcd counts revisions in an int64. */
const LAST_REVISION = 2n ** 63n - 1n;

/** @param facts.kubernetes of what goes into the database. @returns by how much; undefined = not at all */
export function raiseBy(content: Content, { kubernetes }: { readonly kubernetes: boolean }): bigint | undefined {
  if (content.bump === 'none') return undefined;
  if (content.bump === 'auto') return kubernetes ? DEFAULT_RAISE : undefined;
  return content.bump.by;
}

/** @throws WardenError `usage`, `refused` */
export function raisedTo(revision: bigint, by: bigint): bigint {
  if (by < 1n) throw new WardenError('usage', `revisions cannot be raised by ${by}`, { hint: 'by 1 or more' });
  if (revision + by > LAST_REVISION)
    throw new WardenError('refused', `revision ${revision} raised by ${by} is beyond ${LAST_REVISION}, the last one that etcd can count`, {
      hint: 'raise it by less, or not at all: `--no-bump`',
    });
  return revision + by;
}

/**
 * Whether what is superseded has to go when revisions are raised so far. Everything below counts as compacted then, and what a real compaction would have
 * removed is read by nobody and removed by the next one; but a gap too small to be told from a real compaction would make readers of the file believe that it
 * took place (head.ts).
 */
export function mustCompact(content: Content): boolean {
  return typeof content.bump === 'object' && content.bump.by < RAISED_FROM;
}
