/** `npm run bench -- NAME`: see docs/benchmarks.md. */
import { parseArgs } from 'node:util';
import { benchBackup } from './backup.ts';
import { benchCompaction } from './compaction.ts';
import { type Kind, KINDS } from './databases.ts';
import { benchDefrag } from './defrag.ts';
import { benchGet } from './get.ts';
import { benchIdle } from './idle.ts';
import { benchIndex } from './index.ts';
import { benchProof } from './proof.ts';
import { benchRestore } from './restore.ts';
import { benchRss } from './rss.ts';
import { benchSampling } from './sampling.ts';
import { benchStall } from './stall.ts';
import { benchVerify } from './verify.ts';

const USAGE = `npm run bench -- NAME

  backup [--rounds 5] [--gib 2]      time of a backup to disk and to S3 against doing it by hand
  rss [--sizes 0.1,0.5,2]            peak memory of a backup for each size, and for a sparse 8 GiB
  idle [--gib 0.1]                   memory and CPU of a daemon that waits for its next backup
  verify [--rounds 5]                time of a verification at \`proved\` against \`etcdutl snapshot status\`, for three databases
  restore [--rounds 5]               time of a restore against \`etcdutl snapshot restore\`, for the same, and from S3
    [--kinds 'large values,churned']   for these databases alone: large values, small values, churned
    [--only disk|s3]                   from a folder alone, or from S3 alone
    [--keep]                           of the backups that the run before has kept, 2 to 3 GiB for each database
  proof [--rounds 5]                 time of a backup with proof against \`etcdctl snapshot save\`, for the same
  stall [--rounds 5] [--gib 0.6]     how long no member accepts a write, or renews a lease, during a proof against \`etcdctl endpoint hashkv --cluster\`
  get [--rounds 5] [--gib 2]         one key out of a backup in S3
  defrag [--rounds 5] [--gib 0.6]    how long no lease is renewed, no write accepted, while all members are defragmented, against \`etcdctl defrag --cluster\`
  compaction [--rounds 5] [--millions 1]   the slowest write while a million revisions are compacted, against \`etcdctl compact --physical\`
  sampling [--rounds 5] [--seconds 180]    what being watched costs the members
  index [--rounds 3]                 time and memory of the key index against the backup before it

The databases are made once and kept in the cache folder. A name ends with exit code 1 when a limit was not kept.`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    gib: { type: 'string' },
    sizes: { type: 'string', default: '0.1,0.5,2' },
    millions: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '180' },
    kinds: { type: 'string', default: KINDS.join(',') },
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const gib = (usual: number): number => Number(values.gib ?? usual);
const benches: Record<string, () => Promise<boolean>> = {
  backup: () => benchBackup({ rounds: Number(values.rounds), gib: gib(2) }),
  rss: () => benchRss({ sizes: values.sizes.split(',').map(Number) }),
  get: () => benchGet({ rounds: Number(values.rounds), gib: gib(2) }),
  index: () => benchIndex({ rounds: Number(values.rounds) }),
  idle: () => benchIdle({ gib: gib(0.1) }),
  verify: () => benchVerify({ rounds: Number(values.rounds) }),
  stall: () => benchStall({ rounds: Number(values.rounds), gib: gib(0.6) }),
  defrag: () => benchDefrag({ rounds: Number(values.rounds), gib: gib(0.6) }),
  compaction: () => benchCompaction({ rounds: Number(values.rounds), millions: Number(values.millions) }),
  sampling: () => benchSampling({ rounds: Number(values.rounds), seconds: Number(values.seconds) }),
  restore: () =>
    benchRestore({ rounds: Number(values.rounds), kinds: kindsOf(values.kinds), only: sideOf(values.only), keep: values.keep }),
  proof: () => benchProof({ rounds: Number(values.rounds) }),
};

function kindsOf(text: string): Kind[] {
  return text.split(',').map((name) => {
    const kind = KINDS.find((one) => one === name.trim());
    if (kind === undefined) throw new Error(`--kinds: ${name} is none of ${KINDS.join(', ')}`);
    return kind;
  });
}

function sideOf(text: string | undefined): 'disk' | 's3' | undefined {
  if (text === undefined || text === 'disk' || text === 's3') return text;
  throw new Error(`--only: ${text} is neither disk nor s3`);
}

const bench = benches[positionals[0] ?? ''];
if (bench === undefined || positionals.length > 1) {
  console.error(USAGE);
  process.exitCode = 2;
} else {
  process.exitCode = (await bench()) ? 0 : 1;
}
