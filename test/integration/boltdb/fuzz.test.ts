/** Longer than the unit test of the same, and over files that bbolt and etcd wrote. `ETCD_WARDEN_FUZZ_SEED` and `ETCD_WARDEN_FUZZ_SECONDS` go further. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openBolt } from '../../../src/boltdb/bolt.ts';
import { program } from '../../../tools/programs.ts';
import { fileToDamage } from '../../support/bolt-damage.ts';
import { inMemory } from '../../support/bolt-file.ts';
import { examine, spoil } from '../../support/bolt-fuzz.ts';
import { startCluster } from '../../support/cluster.ts';
import { run } from '../../support/processes.ts';
import { seeded } from '../../support/random.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const folder = temporaryFolder('boltdb-fuzz');
afterAll(() => removeFolder(folder));

const SEED = Number(process.env['ETCD_WARDEN_FUZZ_SEED'] ?? 1);
const SECONDS = Number(process.env['ETCD_WARDEN_FUZZ_SECONDS'] ?? 9);

/** The database alone: what lies behind it can be changed without a trace. */
async function trimmed(path: string): Promise<{ bytes: Buffer; pageSize: number }> {
  const all = readFileSync(path);
  const { length, meta } = await openBolt(inMemory(all));
  return { bytes: Buffer.from(all.subarray(0, length)), pageSize: meta.pageSize };
}

test(`fault 9: whatever is flipped, cut and spliced (seed ${SEED}), no file crashes the check, keeps it for ever or loses entries unseen`, async () => {
  const bench = join(folder, 'bench.db');
  const sizes = ['-count', '1200', '-batch-size', '200', '-value-size', '100', '-key-size', '16'];
  await run(program('bbolt'), ['bench', '-work', '-no-sync', '-profile-mode', 'w', '-write-mode', 'rnd-nest', '-path', bench, ...sizes]);
  const snapshot = join(folder, 'etcd.db');
  await using cluster = await startCluster({ minor: '3.6' });
  await cluster.fill({ keys: 300, valueBytes: 100 });
  await cluster.etcdctl(['snapshot', 'save', snapshot]);

  const files = [fileToDamage(), await trimmed(bench), await trimmed(snapshot)];
  const outcomes: Record<string, number> = {};
  for (const [i, { bytes, pageSize }] of files.entries()) {
    const random = seeded(SEED * 10 + i);
    const sound = await examine(bytes);
    expect(sound.code).toBeUndefined();
    const end = performance.now() + (SECONDS * 1000) / files.length;
    for (let round = 0; performance.now() < end; round += 1) {
      const outcome = await examine(spoil(bytes, pageSize, random));
      if (outcome.code === undefined) expect(outcome, `file ${i}, round ${round}`).toEqual(sound);
      outcomes[outcome.code ?? 'sound'] = (outcomes[outcome.code ?? 'sound'] ?? 0) + 1;
    }
  }
  expect(Object.keys(outcomes).toSorted()).toEqual(['bolt-damaged', 'not-bolt', 'sound']);
});
