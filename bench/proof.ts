import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { program } from '../tools/programs.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { benchFolder, type Kind, KINDS, startWithKind } from './databases.ts';
import { measure, settle, summarize, table, verdict, type Run } from './measure.ts';
import { measureBackup } from './warden.ts';

const LIMITS = { toSave: 1.35, rssMiB: 200 };

export interface ProofBenchOptions {
  readonly rounds: number;
  readonly kinds?: readonly Kind[];
}

/** A backup to disk, looked through and compared with the member's HashKV, against `etcdctl snapshot save`, in turns. */
export async function benchProof({ rounds, kinds = KINDS }: ProofBenchOptions): Promise<boolean> {
  const work = temporaryFolder('bench', benchFolder());
  const [store, plain] = [join(work, 'store'), join(work, 'plain.db')];
  const rows: string[][] = [];
  let kept = true;
  for (const kind of kinds) {
    await using cluster = await startWithKind(kind);
    const endpoint = cluster.endpoints[0]!;
    const candidates = {
      'backup with proof': () => measureBackup({ endpoint, to: store }),
      'etcdctl snapshot save': () => measure(program('etcdctl', '3.6'), [`--endpoints=${endpoint}`, 'snapshot', 'save', plain]),
    };
    type Name = keyof typeof candidates;
    const names = Object.keys(candidates) as Name[];
    const runs: Record<Name, Run[]> = { 'backup with proof': [], 'etcdctl snapshot save': [] };
    // The database comes from the page cache in every round, the first too.
    await candidates['etcdctl snapshot save']();
    for (let round = 1; round <= rounds; round++) {
      for (const name of names) {
        for (const left of [store, plain]) removeFolder(left);
        mkdirSync(store);
        await settle();
        runs[name].push(await candidates[name]());
        console.log(`${kind}, round ${round} of ${rounds}  ${name}: ${runs[name].at(-1)!.seconds.toFixed(2)} s`);
      }
    }
    const median = (name: Name): number => summarize(runs[name].map((run) => run.seconds)).median;
    const ratio = median('backup with proof') / median('etcdctl snapshot save');
    for (const name of names) {
      const seconds = summarize(runs[name].map((run) => run.seconds));
      const cpu = summarize(runs[name].map((run) => run.cpuSeconds)).median;
      const rss = Math.max(...runs[name].map((run) => run.peakRssMiB));
      const ours = name === 'backup with proof';
      if (ours) kept &&= ratio <= LIMITS.toSave && rss <= LIMITS.rssMiB;
      rows.push([
        kind,
        name,
        ...[seconds.median, seconds.min, seconds.max].map((value) => value.toFixed(2)),
        cpu.toFixed(1),
        ours ? verdict(ratio, LIMITS.toSave) : '',
        ours ? verdict(rss, LIMITS.rssMiB) : rss.toFixed(0),
      ]);
    }
  }
  console.log(`\n${table(['database', '', 'median s', 'min s', 'max s', 'CPU s', 'ratio of medians', 'peak RSS MiB'], rows)}`);
  removeFolder(work);
  return kept;
}
