import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { benchFolder, type Kind, KINDS, startWithKind } from './databases.ts';
import { settle, summarize, table, verdict, type Run } from './measure.ts';
import { measureBackup } from './warden.ts';

const LIMITS = { toBackup: 1.5, rssMiB: 200 };

export interface IndexBenchOptions {
  readonly rounds: number;
  readonly kinds?: readonly Kind[];
}

/** What the key index adds to a backup that builds it before it ends, against the backup without it, in turns. */
export async function benchIndex({ rounds, kinds = KINDS }: IndexBenchOptions): Promise<boolean> {
  const work = temporaryFolder('bench', benchFolder());
  const store = join(work, 'store');
  const rows: string[][] = [];
  let kept = true;
  for (const kind of kinds) {
    await using cluster = await startWithKind(kind);
    const endpoint = cluster.endpoints[0]!;
    const without: Run[] = [];
    const withIndex: Run[] = [];
    for (let round = 1; round <= rounds; round++) {
      for (const [runs, index] of [
        [without, false],
        [withIndex, true],
      ] as const) {
        removeFolder(store);
        mkdirSync(store);
        await settle();
        runs.push(await measureBackup({ endpoint, to: store, index }));
      }
      console.log(
        `${kind}, round ${round} of ${rounds}: ${without.at(-1)!.seconds.toFixed(2)} s, with its index ${withIndex.at(-1)!.seconds.toFixed(2)} s`,
      );
    }
    const plain = summarize(without.map((run) => run.seconds));
    const more = summarize(withIndex.map((run) => run.seconds));
    const ratio = (more.median - plain.median) / plain.median;
    const rss = Math.max(...withIndex.map((run) => run.peakRssMiB));
    kept &&= ratio <= LIMITS.toBackup && rss <= LIMITS.rssMiB;
    rows.push([
      kind,
      plain.median.toFixed(2),
      (more.median - plain.median).toFixed(2),
      verdict(ratio, LIMITS.toBackup),
      verdict(rss, LIMITS.rssMiB),
      Math.max(...without.map((run) => run.peakRssMiB)).toFixed(0),
    ]);
  }
  removeFolder(work);
  console.log(`\n${table(['database', 'backup s', 'index s', 'index : backup', 'peak RSS MiB', 'of the backup alone'], rows)}`);
  return kept;
}
