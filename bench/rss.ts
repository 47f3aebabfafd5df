import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../test/support/processes.ts';
import { startGateway } from '../test/support/gateway.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { program } from '../tools/programs.ts';
import { benchFolder, startWithDatabase } from './databases.ts';
import { table, verdict } from './measure.ts';
import { measureBackup } from './warden.ts';

/** MiB, for every size. */
const LIMIT_MIB = 200;
/** The sparse 8 GiB against the 2 GiB of the same kind: memory is flat. */
const GROWTH_LIMIT = 1.1;
const SPARSE_GIB = 8;

/** Peak RSS of a backup job for each size, store and encryption. */
export async function benchRss({ sizes }: { sizes: readonly number[] }): Promise<boolean> {
  const work = temporaryFolder('bench', benchFolder());
  await using gateway = await startGateway({ dataRoot: work });
  await gateway.createBucket('bench');
  const key = await run(program('age-keygen'), []);
  const recipient = /public key: (age1\w+)/.exec(key)![1]!;
  const peaks = new Map<string, number>();
  const rows: string[][] = [];
  let kept = true;

  for (const gib of [...sizes, SPARSE_GIB]) {
    const sparse = gib === SPARSE_GIB;
    await using cluster = await startWithDatabase(gib, { sparse });
    for (const store of ['disk', 'S3'] as const) {
      for (const encryption of ['plain', 'age'] as const) {
        for (const left of [join(work, 'store'), join(gateway.root, 'bench/ours')]) removeFolder(left);
        mkdirSync(join(work, 'store'));
        const measured = await measureBackup({
          endpoint: cluster.endpoints[0]!,
          to: store === 'disk' ? join(work, 'store') : 's3://bench/ours',
          ...(store === 'S3' ? { gateway } : {}),
          ...(encryption === 'age' ? { recipient } : {}),
        });
        const peak = measured.peakRssMiB;
        peaks.set(`${gib} ${store} ${encryption}`, peak);
        const base = peaks.get(`2 ${store} ${encryption}`);
        const growth = sparse && base !== undefined ? peak / base : undefined;
        kept &&= peak <= LIMIT_MIB && (growth ?? 0) <= GROWTH_LIMIT;
        const row = [`${gib} GiB${sparse ? ', sparse' : ''}`, store, encryption, measured.seconds.toFixed(1), verdict(peak, LIMIT_MIB)];
        rows.push([...row, growth === undefined ? '' : verdict(growth, GROWTH_LIMIT)]);
        console.log(row.join('  '));
      }
    }
  }
  console.log(`\n${table(['database', 'store', 'encryption', 's', 'peak RSS MiB', 'against 2 GiB'], rows)}`);
  removeFolder(work);
  return kept;
}
