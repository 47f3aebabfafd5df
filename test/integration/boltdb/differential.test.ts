/** What `bbolt check` says of a file, and what our check says of it. */
import { execFile } from 'node:child_process';
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openFile } from '../../../src/archive/file-access.ts';
import { openBolt } from '../../../src/boltdb/bolt.ts';
import { type CheckOptions, findProblems } from '../../../src/boltdb/check.ts';
import type { Finding } from '../../../src/boltdb/errors.ts';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { fileToDamage, PLANTED } from '../../support/bolt-damage.ts';
import { boltFile, type BoltFileOptions } from '../../support/bolt-file.ts';
import { startCluster } from '../../support/cluster.ts';
import { run } from '../../support/processes.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const folder = temporaryFolder('boltdb');
afterAll(() => removeFolder(folder));

interface Verdict {
  readonly sound: boolean;
  readonly said: string;
}

/**
 * Anything but OK is a fault found: bbolt panics over some, in a goroutine whose channel the panic closes, and now and then its main ends with OK before the panic
 * ends the process (cmd/bbolt, 1.4.3). So of damage it is asked again before it is believed.
 */
async function bboltOnDamage(path: string): Promise<Verdict> {
  let verdict = await bboltCheck(path);
  for (let i = 0; i < 9 && verdict.sound; i += 1) verdict = await bboltCheck(path);
  return verdict;
}

async function bboltCheck(path: string): Promise<Verdict> {
  return await new Promise((resolve) => {
    execFile(program('bbolt'), ['check', path], { timeout: 20_000, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      resolve({ sound: error === null && stdout.trim() === 'OK' && stderr === '', said: `${stdout}${stderr}`.slice(0, 500) }),
    );
  });
}

async function ourCheck(path: string, options?: CheckOptions): Promise<Finding[]> {
  const file = await openFile(path);
  try {
    return await Array.fromAsync(findProblems(file, options));
  } finally {
    await file.close();
  }
}

function written(name: string, bytes: Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, bytes, { mode: 0o600 });
  return path;
}

describe('damage of every kind', () => {
  test('the file it is planted in is sound for both', async () => {
    const path = written('sound.db', fileToDamage().bytes);
    expect(await bboltCheck(path)).toMatchObject({ sound: true });
    expect(await ourCheck(path)).toEqual([]);
  });

  test.each(PLANTED.filter((each) => each.bbolt !== undefined).map((each) => [each.what, each] as const))(
    'fault 9: %s: what bbolt finds is found',
    async (_, { plant, bbolt }) => {
      const file = fileToDamage();
      plant(file);
      const path = written('damaged.db', file.bytes);
      const { sound, said } = await bboltOnDamage(path);
      expect(sound ? 'overlooks' : 'finds', said).toBe(bbolt);
      expect(await ourCheck(path)).not.toEqual([]);
    },
  );
});

describe('files of our builder are files for bbolt', () => {
  const numbered = Array.from({ length: 500 }, (_, i): [string, string] => [
    `key-${String(i).padStart(4, '0')}`,
    'x'.repeat((i * 37) % 900),
  ]);

  test.each<[string, BoltFileOptions]>([
    ['pages of 1 KiB, deep trees, no list of free pages', { fanout: 3, gap: () => 1 }],
    ['pages of 4 KiB, a stored list of free pages', { pageSize: 4096, freelist: 'stored', gap: () => 2 }],
    ['pages of 16 KiB, a stored list in its large form', { pageSize: 16_384, freelist: 'large', gap: () => 1 }],
    ['pages of 64 KiB, no inline buckets', { pageSize: 65_536, fanout: 100, inlineBytes: 0 }],
  ])('%s', async (name, options) => {
    const buckets = {
      alarm: [],
      key: numbered,
      outer: { entries: [['a', 'b']] as const, buckets: { inner: { entries: numbered, buckets: { innermost: numbered } } } },
    };
    const path = written('built.db', boltFile(buckets, options).bytes);
    expect(await bboltCheck(path), name).toMatchObject({ sound: true });
    expect(await ourCheck(path)).toEqual([]);
    expect((await run(program('bbolt'), ['keys', path, 'outer', 'inner', 'innermost'])).trim().split('\n')).toEqual(
      numbered.map(([key]) => key),
    );
  });

  test('a list of 70 000 free pages, which needs the large form', async () => {
    let turn = 0;
    const file = boltFile({ key: numbered }, { freelist: 'large', gap: () => (turn++ === 5 ? 70_000 : 0) });
    const path = written('free.db', file.bytes);
    expect(await bboltCheck(path)).toMatchObject({ sound: true });
    expect(await ourCheck(path)).toEqual([]);
    file.bytes.copyWithin(file.freelist! * 1024 + 24 + 65_000 * 8, file.freelist! * 1024 + 24, file.freelist! * 1024 + 32);
    const damaged = written('free.db', file.bytes);
    expect(await bboltOnDamage(damaged)).toMatchObject({ sound: false });
    expect((await ourCheck(damaged)).map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/as free twice/),
      expect.stringMatching(/nothing uses it/),
    ]);
  });
});

describe('files of bbolt itself', () => {
  test.each(['seq', 'rnd', 'seq-nest', 'rnd-nest'])(
    'written %s, with a stored list of free pages, which then is given up and built anew',
    async (mode) => {
      const path = join(folder, `${mode}.db`);
      const size = ['-count', '6000', '-batch-size', '500', '-value-size', '150', '-key-size', '16'];
      await run(program('bbolt'), ['bench', '-work', '-no-sync', '-profile-mode', 'w', '-write-mode', mode, '-path', path, ...size]);
      const before = await contents(path);
      expect(before.freelist).toBeDefined();
      expect(before.problems).toEqual([]);
      expect(before.entries).toBeGreaterThanOrEqual(6000);
      const [without, rebuilt] = [`${path}.without`, `${path}.rebuilt`];
      await run(program('bbolt'), ['surgery', 'freelist', 'abandon', path, '--output', without]);
      await run(program('bbolt'), ['surgery', 'freelist', 'rebuild', without, '--output', rebuilt]);
      expect(await contents(without)).toEqual({ ...before, freelist: undefined });
      expect(await contents(rebuilt)).toMatchObject({ problems: [], entries: before.entries });
    },
  );

  async function contents(path: string): Promise<{ freelist: bigint | undefined; entries: number; problems: Finding[] }> {
    let entries = 0;
    const problems = await ourCheck(path, { onLeaf: (page) => (entries += page.count) });
    const file = await openFile(path);
    const { meta } = await openBolt(file);
    await file.close();
    return { freelist: meta.freelist, entries, problems };
  }
});

describe.each(ETCD_MINORS)('snapshots of etcd %s', (minor) => {
  test('are sound for both, before and after compaction, and their nested reading agrees with bbolt', async () => {
    await using cluster = await startCluster({ minor });
    const path = join(folder, `${minor}.db`);
    for (const round of [1, 2]) {
      await cluster.fill({ keys: 1500, valueBytes: 700 });
      await cluster.fill({ keys: 2, valueBytes: 1_000_000 });
      await cluster.etcdctl(['snapshot', 'save', path]);
      expect(await ourCheck(path, { snapshot: true })).toEqual([]);
      const copy = `${path}.copy`;
      copyFileSync(path, copy);
      truncateSync(copy, readFileSync(path).length - 32);
      expect(await bboltCheck(copy)).toMatchObject({ sound: true });
      const file = await openFile(path);
      const db = await openBolt(file);
      const names = await db.bucketNames();
      expect(names).toEqual((await run(program('bbolt'), ['buckets', copy])).trim().split('\n'));
      const keys: string[] = [];
      for await (const batch of (await db.bucket('key'))!.batches()) for (const { key } of batch) keys.push(key.toString('hex'));
      expect(keys).toEqual((await run(program('bbolt'), ['keys', '--format', 'hex', copy, 'key'])).trim().split('\n'));
      await file.close();
      if (round === 1) await cluster.etcdctl(['compact', String((await (await cluster.leader()).status()).revision)]);
    }
  });
});
