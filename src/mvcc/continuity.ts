/**
 * Whether the changes of a database follow from each other: nothing in a file's structure would show that one is missing or belongs elsewhere.
 *
 * Above the compact revision history is complete: revisions follow without a gap, and in each the changes count from 0. Of a key, version v stands
 * after v-1 of the same creation, version 1 after nothing or a deletion, a deletion after a key that lived. At or below the compact revision one
 * record of a key is left, or several while a compaction is under way, and only they themselves can be checked, and that what follows follows.
 */
import { WardenError } from '../errors.ts';
import { digestKey } from './digest.ts';
import { createKeyFold, type FoldRules } from './key-fold.ts';
import { type KeyValue, parseKeyValue } from './key-value.ts';
import { isTombstone, mainOf, subOf } from './revision.ts';
import type { RecordSource } from './source.ts';
import type { DigestOptions } from './survivors.ts';

/**
 * Reads all records twice at most.
 * @param compactRevision of the source itself, scheduled or finished; 0n when nothing was compacted
 * @returns the number of records
 * @throws WardenError `history-broken` with the revision of a change that does not follow and why, never with bytes of keys, which may be secrets; `not-etcd`; what the source
 *   throws
 */
export async function checkContinuity(source: RecordSource, compactRevision: bigint, options: DigestOptions = {}): Promise<number> {
  const { seed = 0, digest = digestKey, signal, scratch, limitBytes } = options;
  const out = new Uint32Array(2);
  const fold = createKeyFold(chains(compactRevision), { scratch, limitBytes });

  /**
   * Revisions relative to the compact revision are small numbers, however high a restore has raised them. What it left below can be farther than
   * 2^53 away and is rounded then: revisions that differ could pass for equal, none that are equal for different.
   */
  function relative(revision: bigint): number {
    return Number(revision - compactRevision);
  }

  function push({ key, createRevision, version }: KeyValue, main: bigint, tombstone: boolean): void {
    digest(key, seed, out);
    fold.push(out[0]!, out[1]!, relative(main), tombstone ? 0 : relative(createRevision), tombstone ? 0 : Number(version));
  }

  try {
    const follows = sequence(compactRevision);
    let count = 0;
    for await (const batch of source.records({ signal })) {
      for (const { key, value } of batch) {
        const [main, tombstone, record] = [mainOf(key), isTombstone(key), parseKeyValue(value)];
        const problem = follows(main, subOf(key)) ?? recordProblem(record, main, tombstone, value.length === 0 && main <= compactRevision);
        if (problem !== undefined) throw broken(main, problem);
        count += 1;
        if (main > compactRevision) push(record, main, tombstone);
      }
      await fold.settle();
    }
    // What the first changes above follow is known only now, and only of their keys is anything remembered.
    if (compactRevision > 0n) {
      bases: for await (const batch of source.records({ signal })) {
        for (const { key, value } of batch) {
          const main = mainOf(key);
          if (main > compactRevision) break bases;
          push(parseKeyValue(value), main, isTombstone(key));
        }
        await fold.settle();
      }
    }
    await fold.finish();
    return count;
  } finally {
    await fold.close();
  }
}

/**
 * What is wrong with a record by itself; undefined when it is as etcd writes it.
 * @param raised an empty value is the mark that `--bump-revision` leaves at the compact revision
 */
export function recordProblem(record: KeyValue, main: bigint, tombstone: boolean, raised: boolean): string | undefined {
  const { key, createRevision, modRevision, version, value, lease } = record;
  if (raised && !tombstone) return undefined;
  if (key.length === 0) return 'it has no key';
  if (tombstone) {
    const bare = createRevision === 0n && modRevision === 0n && version === 0n && lease === 0n && value.length === 0;
    return bare ? undefined : 'it deletes a key and has more than its name';
  }
  if (modRevision !== main) return `it says that it is of revision ${modRevision}`;
  if (createRevision < 1n || createRevision > modRevision) return `it says that its key was created at revision ${createRevision}`;
  if (version < 1n || (version === 1n) !== (createRevision === modRevision))
    return `it is version ${version} of a key that was created at revision ${createRevision}`;
  return undefined;
}

/** Tells of each record in order whether it may follow the one before it. */
function sequence(compactRevision: bigint): (main: bigint, sub: bigint) => string | undefined {
  // An empty store is at revision 1: the first write ever is revision 2.
  const start = compactRevision > 1n ? compactRevision : 1n;
  let [main, sub] = [-1n, 0n];
  return (nextMain, nextSub) => {
    const [before, beforeSub] = [main, sub];
    [main, sub] = [nextMain, nextSub];
    if (main <= compactRevision) {
      return main > before || (main === before && sub > beforeSub) ? undefined : 'there is another record of this very change';
    }
    const since = before > start ? before : start;
    if (sub === 0n ? main === since + 1n : main === before && sub === beforeSub + 1n) return undefined;
    if (main === before) return `change ${sub} of it follows change ${beforeSub}`;
    return main === since + 1n ? `its first change is ${sub}` : `the revision before it is ${since}`;
  };
}

/** Columns: the first change above the compact revision, then the last one so far, and in the end the one that the first has to follow. */
const FIRST_MAIN = 0;
const FIRST_CREATE = 1;
const FIRST_VERSION = 2;
const LAST_CREATE = 3;
const LAST_VERSION = 4;
const BASE_SEEN = 5;
const COLUMNS = 6;

/** Version 0 stands for a deletion, and for a key of which nothing is there. */
function chains(compactRevision: bigint): FoldRules {
  function link(main: number, create: number, version: number, beforeCreate: number, beforeVersion: number): void {
    const revision = compactRevision + BigInt(main);
    if (version === 0 && beforeVersion === 0) throw broken(revision, 'it deletes a key that does not live');
    if (version === 0) return;
    if (version === 1 ? beforeVersion !== 0 : version !== beforeVersion + 1)
      throw broken(revision, `version ${version} of its key follows ${beforeVersion === 0 ? 'nothing' : `version ${beforeVersion}`}`);
    if (version > 1 && create !== beforeCreate) {
      const created = [create, beforeCreate].map((each) => compactRevision + BigInt(each));
      throw broken(revision, `its key was created at revision ${created[0]}, the version before it at ${created[1]}`);
    }
  }
  return {
    columns: COLUMNS,
    apply(table, high, low, main, create, version) {
      const slot = main > 0 ? table.claim(high, low) : table.find(high, low);
      if (slot === -1) return;
      const { values } = table;
      const at = slot * COLUMNS;
      if (main <= 0) values[at + BASE_SEEN] = 1;
      else if (values[at + FIRST_MAIN] === 0) {
        values[at + FIRST_MAIN] = main;
        values[at + FIRST_CREATE] = create;
        values[at + FIRST_VERSION] = version;
      } else link(main, create, version, values[at + LAST_CREATE]!, values[at + LAST_VERSION]!);
      values[at + LAST_CREATE] = create;
      values[at + LAST_VERSION] = version;
    },
    finish({ values, slots }) {
      for (let at = 0; at < slots * COLUMNS; at += COLUMNS) {
        const main = values[at + FIRST_MAIN]!;
        if (main === 0) continue;
        const base = values[at + BASE_SEEN] === 1 ? values[at + LAST_VERSION]! : 0;
        link(main, values[at + FIRST_CREATE]!, values[at + FIRST_VERSION]!, values[at + LAST_CREATE]!, base);
      }
    },
  };
}

function broken(revision: bigint, why: string): WardenError {
  return new WardenError('history-broken', `the change at revision ${revision} does not follow from those before it: ${why}`, {
    hint: 'verify another copy of this backup, or use another backup',
  });
}
