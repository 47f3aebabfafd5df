/**
 * Whether a database is sound as a file: all that `bbolt check` looks at (tx_check.go), and what bbolt takes for granted besides. It reads each page once, in
 * the order of the trees.
 *
 * What cannot be seen here: bytes of values and of free pages, which carry no checksum.
 */
import { type Bolt, openBolt } from './bolt.ts';
import { rootTree } from './bucket-header.ts';
import { type Claims, createClaims } from './claims.ts';
import { Damage, damaged, type Finding } from './errors.ts';
import { readFreelist } from './freelist.ts';
import { disagreement, type Metas } from './meta.ts';
import { type Entry, leafEntries, type Page } from './page.ts';
import type { RandomAccess } from './random-access.ts';
import { damageBelow, type TreeVisitor } from './walk.ts';

const META = 0x04;

export interface CheckOptions {
  readonly signal?: AbortSignal | undefined;
  /** It is a snapshot, so that both meta pages must be there and agree. */
  readonly snapshot?: boolean | undefined;
  /** After every leaf: pages of trees that were seen so far, of all that the database has (free ones are never seen). */
  readonly onProgress?: ((pages: number, of: number) => void) | undefined;
  /** Each sound leaf in the order of keys; valid until it returns. @param entries makes its entries */
  readonly onLeaf?: ((page: Page, entries: () => readonly Entry[]) => void) | undefined;
  /** Goes along, and spares the reading of leaves that it knows; those pages are its own to claim. */
  readonly visitor?: ((claims: Claims) => TreeVisitor) | undefined;
}

/** @throws WardenError `bolt-damaged` for the first fault, with page, bucket and reason; `not-bolt` */
export async function check(database: RandomAccess | Bolt, options: CheckOptions = {}): Promise<void> {
  for await (const damage of damageIn(database, options)) throw damage;
}

/** All faults, as they are found; what is below a damaged page is not looked at. @throws WardenError `not-bolt` */
export async function* findProblems(database: RandomAccess | Bolt, options: CheckOptions = {}): AsyncGenerator<Finding, void, undefined> {
  for await (const { finding } of damageIn(database, options)) yield finding;
}

async function* damageIn(database: RandomAccess | Bolt, options: CheckOptions): AsyncGenerator<Damage, void, undefined> {
  const { signal, onProgress, onLeaf } = options;
  let bolt: Bolt;
  try {
    bolt = 'meta' in database ? database : await openBolt(database, signal);
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    yield error;
    return;
  }
  const { file, meta, metas } = bolt;
  yield* metaDamage(file, metas, options);

  const pages = Number(meta.highWater);
  const claims = createClaims(pages);
  claims.claim(0, 2);
  const free = createClaims(pages);
  const listed = yield* freelistDamage(bolt, claims, free, signal);
  let complete = true;

  let seen = 0;
  const reached: Claims = {
    has: (id) => claims.has(id),
    claim(first, count) {
      seen += count;
      return claims.claim(first, count);
    },
  };
  const along = options.visitor?.(reached);
  const visitor: TreeVisitor = {
    ...along,
    leaf(page, offsets, range) {
      onProgress?.(seen, pages);
      onLeaf?.(page, () => leafEntries(page));
      along?.leaf?.(page, offsets, range);
    },
  };
  for await (const damage of damageBelow(rootTree(file, meta), visitor, { claims: reached, signal })) {
    complete = false;
    yield damage;
  }
  // Without a stored list, free is what nothing reaches. What lies below a damaged page was not reached either, and that is no fault of its own.
  if (listed) yield* accountDamage(pages, claims, free, complete);
}

/** The meta pages as pages; their own checksum covers what they say of the database. */
async function* metaDamage(file: RandomAccess, metas: Metas, options: CheckOptions): AsyncGenerator<Damage, void, undefined> {
  const { pageSize, order } = metas.current;
  for (const [id, meta] of metas.pages.entries()) {
    if (meta === undefined) {
      yield damaged({ id }, 'it is no valid meta page');
      continue;
    }
    const header = await file.read(id * pageSize, 16, options.signal);
    if (order.id(header, 0) !== id) yield damaged({ id }, `it says that it is page ${order.u64(header, 0)}`);
    const flags = order.u16(header, 8);
    if (flags !== META) yield damaged({ id }, `its flags are 0x${flags.toString(16)}, a meta page has 0x4`);
    if (meta.flags !== 0) yield damaged({ id }, `the flags of the database are 0x${meta.flags.toString(16)}, no version sets any`);
  }
  const both = metas.pages.every((meta) => meta !== undefined);
  const differ = options.snapshot === true && both ? disagreement(metas) : undefined;
  if (differ !== undefined) yield damaged('the beginning', differ);
}

/** @returns whether there is a list and all of it was read into `free` */
async function* freelistDamage(bolt: Bolt, claims: Claims, free: Claims, signal?: AbortSignal): AsyncGenerator<Damage, boolean, undefined> {
  const { file, meta } = bolt;
  try {
    const list = await readFreelist(file, meta, signal);
    if (list === undefined) return false;
    const { id } = list;
    // Nothing but the meta pages is taken yet, and a list lies behind them.
    claims.claim(id, list.pages);
    for await (const ids of list.ids(signal)) {
      for (const each of ids) {
        if (each < 2 || each >= Number(meta.highWater))
          yield damaged({ id }, `it lists page ${each} as free, which the database does not have`);
        else if (free.claim(each, 1) !== undefined) yield damaged({ id }, `it lists page ${each} as free twice`);
      }
    }
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    yield error;
    return false;
  }
  return true;
}

/** @param complete whether everything that is reachable was reached */
function* accountDamage(pages: number, claims: Claims, free: Claims, complete: boolean): Generator<Damage, void, undefined> {
  for (let id = 2; id < pages; id += 1) {
    if (claims.has(id) && free.has(id)) yield damaged({ id }, 'it is in use, and listed as free');
    if (complete && !claims.has(id) && !free.has(id)) yield damaged({ id }, 'nothing uses it, and it is not listed as free');
  }
}
