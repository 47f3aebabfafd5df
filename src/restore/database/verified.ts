/** The bytes of a source, taken once: written where they are wanted, and examined on the way as deep as `verify --level proved` does. */
import { randomInt } from 'node:crypto';
import { createScratch } from '../../archive/scratch.ts';
import { createSweeper } from '../../archive/young-garbage.ts';
import { type Bolt, openBolt } from '../../boltdb/bolt.ts';
import type { RandomAccess } from '../../boltdb/random-access.ts';
import { WardenError } from '../../errors.ts';
import { isComparable } from '../../format/proof.ts';
import { createExamination } from '../../mvcc/examination/examination.ts';
import type { Examination, Examined } from '../../mvcc/examination/types.ts';
import { hashKv } from '../../mvcc/hash-kv.ts';
import { recordsOf } from '../../mvcc/records.ts';
import type { Scratch } from '../../mvcc/scratch.ts';
import type { Poured, RestoreContext, RestoreSource } from '../types.ts';

/** Where the plain bytes go, in file order. */
export interface PlainFile {
  /** Writes that may be under way beside one; none when absent. */
  readonly ahead?: number;
  /** `bytes` may be used again when it resolves. */
  write(offset: number, bytes: Buffer): Promise<void>;
  /** Forgets all of them. */
  clear(): Promise<void>;
  access(size: number): RandomAccess;
}

export interface Verified {
  readonly poured: Poured;
  readonly db: Bolt;
  readonly examined: Examined;
  /** For what else has to be worked out of it. */
  readonly scratch: Scratch;
}

export interface VerifyOptions {
  readonly source: RestoreSource;
  readonly file: PlainFile;
  readonly scratchFolder: string;
}

/**
 * Length and SHA-256 are the source's to compare; structure, records and continuity are looked at here, and HashKV is compared with what members answered.
 * @param use gets what is known to be sound, for as long as it runs
 * @throws WardenError what `RestoreSource.pour` and the examination throw; `verification-failed` when HashKV is another than members answered
 */
export async function withVerified<Result>(
  { source, file, scratchFolder }: VerifyOptions,
  context: RestoreContext,
  use: (verified: Verified) => Promise<Result>,
): Promise<Result> {
  const { signal, progress } = context;
  const scratch = createScratch(scratchFolder, { encrypted: source.encrypted });
  const begin = (): Promise<Examination> => createExamination({ scratch, seed: randomInt(2 ** 32), relieve: () => sweep(Infinity) });
  const sweep = createSweeper();
  let examination = await begin();
  try {
    let at = 0;
    const poured = await source.pour(
      {
        ahead: file.ahead,
        write(block) {
          // The disk writes while the block is looked at.
          const writing = file.write(at, block);
          at += block.length;
          examination.write(block);
          return writing;
        },
        async restart() {
          await examination.close();
          examination = await begin();
          at = 0;
          await file.clear();
        },
      },
      signal,
    );
    progress({ step: 'check', message: `proving ${source.name}` });
    const access = file.access(poured.databaseBytes);
    const examined = await examination.finish(access, signal);
    // Reads of its own: what the examination was handed stays valid meanwhile.
    const verified = { poured, db: await openBolt(file.access(poured.databaseBytes), signal), examined, scratch };
    await compareWithMembers(source, verified, signal);
    return await use(verified);
  } finally {
    await examination.close();
  }
}

async function compareWithMembers(
  { name, proof, backup }: RestoreSource,
  { examined, db, scratch }: Verified,
  signal: AbortSignal,
): Promise<void> {
  const { head, keyCount } = examined;
  if (backup !== undefined && String(head.revision) !== backup.manifest.revision)
    throw untrue(`${name} holds revision ${head.revision}, its manifest says ${backup.manifest.revision}`);
  // Whether the members' answer can be held against it, and with it what is hashed on the way, was decided by the manifest.
  if (backup !== undefined && String(head.compactRevision) !== backup.manifest.compactRevision)
    throw untrue(`${name} is compacted at ${head.compactRevision}, its manifest says ${backup.manifest.compactRevision}`);
  if (backup?.manifest.keyCount !== undefined && keyCount !== backup.manifest.keyCount)
    throw untrue(`${name} holds ${keyCount} keys, its manifest says ${backup.manifest.keyCount}`);
  if (proof === undefined) return;
  const compactRevision = BigInt(proof.compactRevision);
  if (!isComparable(proof, head) || (await examined.hashKv(compactRevision, signal)) === proof.hash) return;
  // Keys are told apart by seeded digests: an alarm is raised only when another seed says the same.
  const { revision, compactionFinished } = head;
  const options = { revision, compactRevision, compactionFinished, scratch, seed: randomInt(2 ** 32), signal };
  const hash = await hashKv(await recordsOf(db, signal), options);
  if (hash !== proof.hash)
    throw untrue(
      `HashKV of ${name} at revision ${proof.revision} with compact revision ${proof.compactRevision} is ${hash}, ${proof.members.join(', ')} answered ${proof.hash}`,
    );
}

function untrue(sentence: string): WardenError {
  return new WardenError('verification-failed', sentence, { hint: 'restore another backup: this one is not what its cluster held' });
}
