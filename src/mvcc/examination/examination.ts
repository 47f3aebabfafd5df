/** The proof of a snapshot: the pass in file order, then the tree, then what became of each key. The contract is in types.ts. */
import { openBolt, type Bolt } from '../../boltdb/bolt.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { checkContinuity } from '../continuity.ts';
import { readHead, type Head } from '../head.ts';
import { recordsOf } from '../records.ts';
import { mainOf, subOf } from '../revision.ts';
import type { Scratch } from '../scratch.ts';
import { leavesAgain } from './again.ts';
import { type Changes, foldChanges } from './changes.ts';
import { examineByWalk } from './generic.ts';
import { sumLeaves } from './hash.ts';
import { LeafReader } from './leaf.ts';
import { Records } from './records.ts';
import { Scan } from './scan.ts';
import { leavesInOrder, withBranches } from './tree.ts';
import type { Examination, Examined, LeafGroup } from './types.ts';

/**
 * With more changes since the last compaction than these, what became of each key is worked out only when a hash needs it: a store that never compacts has
 * all its records there, and the number of its keys follows from creations and deletions.
 */
const EAGER_RECORDS = 2 ** 20;

export interface ExaminationOptions {
  readonly scratch: Scratch;
  /** Of the digests of keys; 32 bits, best random: another one is a second opinion. */
  readonly seed?: number | undefined;
  /** Called now and then during a long walk: the time to give back the memory of what is dead. */
  readonly relieve?: (() => void) | undefined;
  /** For tests: bytes of what is kept of records that stay in memory, and EAGER_RECORDS. */
  readonly heldBytes?: number | undefined;
  readonly eagerRecords?: number | undefined;
  /** For tests: of the tables of keys, before they go to scratch files. */
  readonly foldBytes?: number | undefined;
}

export function createExamination(options: ExaminationOptions): Promise<Examination> {
  const { scratch, seed = 0, eagerRecords = EAGER_RECORDS, relieve, foldBytes } = options;
  const records = new Records(scratch, options.heldBytes);
  const reader = new LeafReader(seed);
  const scan = new Scan(records, reader);
  return Promise.resolve({
    write: (bytes) => scan.write(bytes),
    async finish(file, signal) {
      try {
        return await new Finish(scan, reader, { scratch, seed, eagerRecords, relieve, foldBytes, signal }).run(withBranches(file, scan));
      } finally {
        scan.end();
      }
    },
    close: () => records.close(),
  });
}

interface FinishOptions {
  readonly scratch: Scratch;
  readonly seed: number;
  readonly eagerRecords: number;
  readonly relieve: (() => void) | undefined;
  readonly foldBytes: number | undefined;
  readonly signal: AbortSignal;
}

/** What the leaves of the tree have in them together. */
interface Totals {
  readonly recordCount: number;
  /** Records of leaves that reach above the floor. */
  readonly inHistory: number;
  /** Creations less deletions: right where no record lies at or below the floor. */
  readonly keyCount: number;
  readonly kubernetes: boolean;
}

class Finish {
  readonly #scan: Scan;
  readonly #reader: LeafReader;
  readonly #options: FinishOptions;
  #order: Uint32Array = new Uint32Array(0);
  #changes: Promise<Changes> | undefined;
  #totals: Totals | undefined;

  constructor(scan: Scan, reader: LeafReader, options: FinishOptions) {
    this.#scan = scan;
    this.#reader = reader;
    this.#options = options;
  }

  async run(file: RandomAccess): Promise<Examined> {
    const { signal } = this.#options;
    const db = await openBolt(file, signal);
    const head = await readHead(db, signal);
    this.#order = await leavesInOrder(db, this.#scan, this.#reader, this.#options);
    this.#options.relieve?.();
    if (head.revision > BigInt(Number.MAX_SAFE_INTEGER)) return await examineByWalk(db, head, this.#options);
    await this.#scan.records.settle();
    const [floor, compactRevision] = [Number(head.compactionFinished), Number(head.compactRevision)];
    if (!(await this.#gapless(db, compactRevision))) return await this.#secondOpinion(db, head);
    const totals = this.#count(floor);
    const { recordCount, kubernetes } = totals;
    let { keyCount } = totals;
    if (totals.inHistory <= this.#options.eagerRecords || compactRevision > 0) {
      const changes = await this.#fold(head, signal);
      if (changes.broken) return await this.#secondOpinion(db, head);
      keyCount = changes.living;
    }
    return {
      head,
      keyCount,
      recordCount,
      kubernetes,
      hashKv: (compacted, inner) => this.#hashKv(head, compacted, inner),
      leavesAgain: (read, { live, signal: inner }) => (this.#inPlace() ? this.#again(head, read, live, inner) : undefined),
    };
  }

  /** Something does not fit: the walk over all records says what. If it finds nothing, two keys share a digest, and its figures count. */
  async #secondOpinion(db: Bolt, head: Head): Promise<Examined> {
    await checkContinuity(await recordsOf(db, this.#options.signal), head.compactRevision, this.#options);
    return await examineByWalk(db, head, { ...this.#options, seed: this.#options.seed ^ 0x5bd1e995 });
  }

  /** Above the compact revision no revision and no change of one is missing. */
  async #gapless(db: Bolt, compactRevision: number): Promise<boolean> {
    const { leaves } = this.#scan;
    // An empty store is at revision 1: the first write ever is revision 2.
    let [main, sub] = [Math.max(1, compactRevision), Infinity];
    for (const leaf of this.#order) {
      if (leaves.lastMain(leaf) <= compactRevision) continue;
      if (leaves.raised(leaf)) return false;
      const firstMain = leaves.firstMain(leaf);
      if (firstMain <= compactRevision) {
        // The one leaf with records on both sides.
        const lastMain = leaves.lastMain(leaf);
        const source = await recordsOf(db, this.#options.signal);
        above: for await (const batch of source.records({ from: BigInt(compactRevision) + 1n, signal: this.#options.signal })) {
          for (const { key } of batch) {
            const [nextMain, nextSub] = [Number(mainOf(key)), Number(subOf(key))];
            if (nextMain > lastMain) break above;
            if (nextSub === 0 ? nextMain !== main + 1 : nextMain !== main || nextSub !== sub + 1) return false;
            [main, sub] = [nextMain, nextSub];
          }
          if (main === lastMain) break;
        }
      } else {
        const firstSub = leaves.firstSub(leaf);
        if (!leaves.gapless(leaf) || (firstSub === 0 ? firstMain !== main + 1 : firstMain !== main || firstSub !== sub + 1)) return false;
      }
      // No pair of both: that is an array for each leaf.
      main = leaves.lastMain(leaf);
      sub = leaves.lastSub(leaf);
    }
    return true;
  }

  #fold(head: Head, signal: AbortSignal): Promise<Changes> {
    const { leaves, records } = this.#scan;
    this.#changes ??= foldChanges({
      leaves,
      records,
      order: this.#order,
      floor: Number(head.compactionFinished),
      compactRevision: Number(head.compactRevision),
      keys: this.#count(Number(head.compactionFinished)).inHistory,
      scratch: this.#options.scratch,
      foldBytes: this.#options.foldBytes,
      signal,
    });
    this.#changes.catch(() => (this.#changes = undefined)); // it was interrupted, and may be asked again
    return this.#changes;
  }

  async #hashKv(head: Head, compactRevision: bigint, signal: AbortSignal): Promise<number> {
    const compacted = Number(compactRevision);
    const { leaves, records } = this.#scan;
    const filtered = compacted > 0 && this.#order.some((leaf) => leaves.firstMain(leaf) <= compacted);
    const changes = filtered ? await this.#fold(head, signal) : undefined;
    return await sumLeaves({ leaves, records, order: this.#order, compacted, changes, signal });
  }

  /** Every leaf was summed up where it lies, so that its place is known. */
  #inPlace(): boolean {
    const { layout, seen } = this.#scan;
    return layout?.littleEndian === true && this.#order.every((leaf) => leaf < seen);
  }

  async #again(
    head: Head,
    read: (offset: number, length: number) => Promise<Buffer>,
    live: boolean,
    signal: AbortSignal,
  ): Promise<AsyncIterable<LeafGroup>> {
    const changes = live ? await this.#fold(head, signal) : undefined;
    return leavesAgain({ leaves: this.#scan.leaves, order: this.#order, pageSize: this.#scan.layout!.pageSize, changes, signal }, read);
  }

  /** Made once: it looks at every leaf. @param floor always the same */
  #count(floor: number): Totals {
    if (this.#totals !== undefined) return this.#totals;
    const { leaves } = this.#scan;
    let recordCount = 0;
    let inHistory = 0;
    let keyCount = 0;
    let kubernetes = false;
    for (const leaf of this.#order) {
      const size = leaves.size(leaf);
      recordCount += size;
      if (leaves.lastMain(leaf) > floor) inHistory += size;
      keyCount += leaves.creations(leaf) - leaves.tombstones(leaf);
      kubernetes ||= leaves.kubernetes(leaf);
    }
    this.#totals = { recordCount, inHistory, keyCount, kubernetes };
    return this.#totals;
  }
}
