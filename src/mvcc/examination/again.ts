/**
 * The records once more, in the order of keys: the pass knows where each leaf lies, so that they are fetched in few large reads, one ahead of who takes them.
 * A walk down the tree would read page by page.
 */
import type { Changes } from './changes.ts';
import type { Leaves } from './leaves.ts';
import type { LeafGroup } from './types.ts';

/** Bytes of one read, where leaves lie one behind the other. */
const GROUP_BYTES = 2 ** 20;
/** Pages between two leaves that are read along: branches, and the free pages of a few small runs. */
const GAP_PAGES = 8;

export interface AgainInput {
  readonly leaves: Leaves;
  /** The leaves of the tree, in the order of keys. */
  readonly order: Uint32Array;
  readonly pageSize: number;
  /** When each record's fate is wanted. */
  readonly changes: Changes | undefined;
  readonly signal: AbortSignal;
}

/** @param read gives exactly so many bytes, in a buffer of its own */
export async function* leavesAgain(
  { leaves, order, pageSize, changes, signal }: AgainInput,
  read: (offset: number, length: number) => Promise<Buffer>,
): AsyncGenerator<LeafGroup, void, undefined> {
  function groupAt(from: number): { readonly from: number; readonly to: number; readonly offset: number; readonly bytes: Promise<Buffer> } {
    const first = leaves.page(order[from]!);
    let end = first + leaves.pages(order[from]!);
    let to = from + 1;
    for (; to < order.length; to += 1) {
      const page = leaves.page(order[to]!);
      const after = page + leaves.pages(order[to]!);
      if (page < end || page > end + GAP_PAGES || (after - first) * pageSize > GROUP_BYTES) break;
      end = after;
    }
    const bytes = read(first * pageSize, (end - first) * pageSize);
    bytes.catch(() => undefined); // awaited in its turn
    return { from, to, offset: first * pageSize, bytes };
  }

  let next = order.length === 0 ? undefined : groupAt(0);
  try {
    while (next !== undefined) {
      signal.throwIfAborted();
      const { from, to, offset, bytes: reading }: ReturnType<typeof groupAt> = next;
      const bytes = await reading;
      next = to < order.length ? groupAt(to) : undefined;
      yield {
        bytes,
        leaves: Array.from({ length: to - from }, (_, i) => {
          const leaf = order[from + i]!;
          const record = leaves.record(leaf);
          return {
            at: leaves.page(leaf) * pageSize - offset,
            lastMain: leaves.lastMain(leaf),
            survives: (index) => changes!.survives(record + index),
          };
        }),
      };
    }
  } finally {
    await next?.bytes.catch(() => undefined);
  }
}
