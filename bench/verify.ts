import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { program } from '../tools/programs.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { benchFolder, bytesUnder, type Kind, KINDS, startWithKind } from './databases.ts';
import { measure, MIB, summarize, table, verdict, type Run } from './measure.ts';
import { EXECUTABLE, measureBackup } from './warden.ts';

const LIMITS = { toStatus: 1.5, rssMiB: 200 };

export interface VerifyBenchOptions {
  readonly rounds: number;
  readonly kinds?: readonly Kind[];
}

/** A stored compressed backup verified at `proved`, no member asked, against `etcdutl snapshot status` on the plain file, which proves less, in turns. */
export async function benchVerify({ rounds, kinds = KINDS }: VerifyBenchOptions): Promise<boolean> {
  const etcdutl = program('etcdutl', '3.6');
  const rows: string[][] = [];
  let kept = true;
  for (const kind of kinds) {
    const work = temporaryFolder('bench', benchFolder());
    const [store, plain] = [join(work, 'store'), join(work, 'plain.db')];
    mkdirSync(store);
    {
      await using cluster = await startWithKind(kind);
      const endpoint = cluster.endpoints[0]!;
      await measureBackup({ endpoint, to: store });
      await measure(program('etcdctl', '3.6'), [`--endpoints=${endpoint}`, 'snapshot', 'save', plain]);
    }
    const ours: Run[] = [];
    const theirs: Run[] = [];
    // Both read from the page cache, in the first round too.
    await measure('dd', [`if=${plain}`, 'of=/dev/null', 'bs=1M', 'status=none']);
    for (let round = 1; round <= rounds; round++) {
      theirs.push(await measure(etcdutl, ['snapshot', 'status', plain]));
      ours.push(await verify(store));
      console.log(
        `${kind}, round ${round} of ${rounds}: ${ours.at(-1)!.seconds.toFixed(2)} s, etcdutl ${theirs.at(-1)!.seconds.toFixed(2)} s`,
      );
    }
    const median = (runs: readonly Run[], of: (run: Run) => number): number => summarize(runs.map(of)).median;
    const ratio = median(ours, (run) => run.seconds) / median(theirs, (run) => run.seconds);
    const rss = Math.max(...ours.map((run) => run.peakRssMiB));
    kept &&= ratio <= LIMITS.toStatus && rss <= LIMITS.rssMiB;
    for (const [name, runs] of [
      ['verify --level proved', ours],
      ['etcdutl snapshot status', theirs],
    ] as const) {
      const seconds = summarize(runs.map((run) => run.seconds));
      rows.push([
        kind,
        name,
        ...[seconds.median, seconds.min, seconds.max].map((value) => value.toFixed(2)),
        median(runs, (run) => run.cpuSeconds).toFixed(1),
        name.startsWith('verify') ? verdict(ratio, LIMITS.toStatus) : '',
        name.startsWith('verify') ? verdict(rss, LIMITS.rssMiB) : Math.max(...runs.map((run) => run.peakRssMiB)).toFixed(0),
      ]);
    }
    console.log(`${kind}: ${(bytesUnder(store) / MIB).toFixed(0)} MiB stored`);
    removeFolder(work);
  }
  console.log(`\n${table(['database', '', 'median s', 'min s', 'max s', 'CPU s', 'ratio of medians', 'peak RSS MiB'], rows)}`);
  return kept;
}

/** From the start of the process to its end. A proof that no member gave does not count as a failure here: all that needs none is done. */
function verify(store: string): Promise<Run> {
  return measure(process.execPath, [EXECUTABLE, 'verify', '--latest', '--level', 'proved', '--to', store, '--json', '--quiet']);
}
