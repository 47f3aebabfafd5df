import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { hashContent } from '../../../src/archive/decode.ts';
import { readCatalog } from '../../../src/catalog/read.ts';
import { dataKey } from '../../../src/format/keys.ts';
import { openLocalStore } from '../../../src/store/local/store.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';
import { materialise, PoweredDisk, traceCalls, type Call, type DiskState } from '../../support/power-loss.ts';
import { product, type Product } from '../../support/product.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const WARDEN = join(import.meta.dirname, '../../../bin/etcd-warden');
const { signal } = new AbortController();

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ minor: '3.6', members: 1 });
  // Does not compress, so that the object is written in several pieces.
  await cluster.fill({ keys: 120, valueBytes: 6000, seed: 19, compressible: false });
});
afterAll(() => cluster?.stop());

describe('fault 19: the power is lost', () => {
  test('at any system call of the first backup: whole or not there, and once it was reported nothing takes it away', async () => {
    const { subject, root } = folders();
    const [disk, withoutFiles, withoutFolders] = [new PoweredDisk(root), new PoweredDisk(root, 'file'), new PoweredDisk(root, 'folder')];
    const { calls, result } = await traced(subject, root, 'backup');
    const seen = await lookAtEveryState(disk, calls, (found, reported) => {
      expect(found.problems).toEqual([]);
      expect(found.whole).toEqual(reported || found.whole.length > 0 ? [result.id] : []);
    });
    // Before and after, and what lies between: names without bytes, bytes without names.
    expect(seen.states).toBeGreaterThan(20);
    expect(seen.statesWithBackup).toBeGreaterThan(0);
    expect(seen.statesWithBackup).toBeLessThan(seen.states);

    // The same calls on a disk that is never told to keep bytes, or names: the check must find fault with both.
    const faults = async (deaf: PoweredDisk): Promise<string[]> => {
      const found: string[] = [];
      await lookAtEveryState(deaf, calls, ({ whole, problems }, reported) => {
        found.push(...problems.slice(0, 1), ...(reported && whole.length === 0 ? ['reported, and gone'] : []));
      });
      return found;
    };
    expect(await faults(withoutFiles)).toContainEqual(expect.stringMatching(/cannot be read|damaged|not whole/));
    expect(await faults(withoutFolders)).toContain('reported, and gone');
  });

  test('at any system call of a backup that prunes the one before: one of the two is whole at every moment', async () => {
    const { subject, root } = folders({ keepLast: 1 });
    const first = await subject.backup();
    const disk = new PoweredDisk(root);
    const { calls, result } = await traced(subject, root, 'backup', '--prune');
    expect(result.prune?.lines).toMatchObject([{ id: first.id, outcome: 'removed' }, { id: result.id }]);
    const kinds = new Set<string>();
    await lookAtEveryState(disk, calls, ({ whole, problems }, reported) => {
      expect(problems).toEqual([]);
      expect(whole).not.toEqual([]);
      if (reported) expect(whole).toEqual([result.id]);
      kinds.add(whole.map((id) => (id === first.id ? 'first' : 'second')).join(' and '));
    });
    expect([...kinds].sort()).toEqual(['first', 'first and second', 'second']);
  });

  test('at any system call of a backup to two folders: each for itself holds the whole backup or nothing', async () => {
    const local = (path: string): Record<string, string> => ({ type: 'local', path });
    const { subject, root } = folders({}, (at) => ({ stores: { disk: local(join(at, 'backups')), second: local(join(at, 'second')) } }));
    const disks = { backups: new PoweredDisk(root), second: new PoweredDisk(root) };
    const { calls, result } = await traced(subject, root, 'backup');
    for (const [store, disk] of Object.entries(disks)) {
      const look = (found: Found, reported: boolean): void => {
        expect(found.problems).toEqual([]);
        expect(found.whole).toEqual(reported || found.whole.length > 0 ? [result.id] : []);
      };
      const seen = await lookAtEveryState(disk, calls, look, store);
      expect(seen.statesWithBackup).toBeGreaterThan(0);
    }
  });

  test('on a writer that renames without a sync, which the same check finds out', async () => {
    const { subject, root } = folders();
    await subject.backup();
    const copy = join(root, 'copy');
    const disk = new PoweredDisk(root);
    const script = `
      import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
      const [from, to] = process.argv.slice(1);
      mkdirSync(to + '/main', { recursive: true });
      for (const name of readdirSync(from + '/main').sort()) {
        writeFileSync(to + '/next', readFileSync(from + '/main/' + name));
        renameSync(to + '/next', to + '/main/' + name);
      }
      console.log('done');`;
    const { calls } = await traceCalls(
      [process.execPath, '--input-type=module', '--eval', script, subject.disk, copy],
      {},
      join(root, '..', 'trace'),
    );
    const found = new Set<string>();
    await lookAtEveryState(
      disk,
      calls,
      ({ whole, problems }, reported) => {
        for (const problem of problems) found.add(problem.replace(/\d{8}T\S+/, 'ID').replace(/:.*/, ''));
        if (reported && whole.length === 0) found.add('reported, and gone');
      },
      'copy',
    );
    expect(found).toContain('reported, and gone');
    expect([...found].some((problem) => problem.startsWith('ID'))).toBe(true);
  });
});

interface Reported {
  readonly id: string;
  readonly prune?: { readonly lines: readonly unknown[] };
}

/** `root` is what the disk holds: the store and, as in real life, the configuration beside it. */
function folders(
  retention: Record<string, number> = {},
  options: (root: string) => Record<string, unknown> = () => ({}),
): { subject: Product; root: string } {
  const base = temporaryFolder('power');
  onTestFinished(() => removeFolder(base));
  const root = join(base, 'disk');
  return { root, subject: product({ folder: root, cluster, clusterOptions: { coordinate: false, retention }, options: options(root) }) };
}

async function traced(subject: Product, root: string, ...args: string[]): Promise<{ calls: Call[]; result: Reported }> {
  const command = [process.execPath, WARDEN, ...args, '--config', subject.configPath, '--json'];
  const { calls, stdout } = await traceCalls(command, { PATH: process.env['PATH'], HOME: root }, join(root, '..', 'trace'));
  return { calls, result: JSON.parse(stdout) as Reported };
}

interface Found {
  readonly whole: readonly string[];
  readonly problems: readonly string[];
}

/** Plays the calls, and looks at every content that the disk may have after each of them. */
async function lookAtEveryState(
  disk: PoweredDisk,
  calls: readonly Call[],
  look: (found: Found, reported: boolean) => void,
  store = 'backups',
): Promise<{ states: number; statesWithBackup: number }> {
  const folder = temporaryFolder('after-power');
  onTestFinished(() => removeFolder(folder));
  const known = new Map<string, Found>();
  const seen = new Set<string>();
  let statesWithBackup = 0;
  for (const [index, call] of calls.entries()) {
    if (!disk.apply(call)) continue;
    for (const state of disk.afterPowerLoss()) {
      // What lies beside the store is of no account.
      const key = state.key
        .split('\n')
        .filter((line) => line.startsWith(`${store}/`))
        .join('\n');
      const moment = `${key}\n${disk.reported}`;
      if (seen.has(moment)) continue;
      seen.add(moment);
      const found = known.get(key) ?? (await examine(state, folder, store));
      known.set(key, found);
      if (found.whole.length > 0) statesWithBackup++;
      try {
        look(found, disk.reported);
      } catch (error) {
        throw new Error(`power lost after call ${index} of ${calls.length}, ${call.name}; ${state.description}:\n${state.key}`, {
          cause: error,
        });
      }
    }
  }
  return { states: seen.size, statesWithBackup };
}

/** As the next start finds it: what is listed must be whole to the last byte, and the sweep clears the temporary files. */
async function examine(state: DiskState, folder: string, name: string): Promise<Found> {
  materialise(state, folder);
  const store = openLocalStore({ type: 'local', name: 'disk', path: join(folder, name) });
  const catalog = await readCatalog([store], 'main', { signal });
  const problems = [
    ...catalog.unreachable.map(({ error }) => `the store cannot be listed: ${error.message}`),
    ...catalog.oddities
      .filter(({ kind }) => kind !== 'data-without-manifest')
      .map(({ key, kind, detail }) => `${key} cannot be read: ${kind}: ${detail}`),
  ];
  const whole: string[] = [];
  for (const { id, state: condition, manifest, copies } of catalog.backups) {
    if (condition !== 'complete' || copies[0]?.verified !== true) {
      problems.push(`${id} is listed as ${condition}: damaged`);
      continue;
    }
    const content = await hashContent(store, dataKey('main', id, manifest.stored.encryption), { signal }).catch((error: Error) => error);
    if (content instanceof Error) problems.push(`${id} is not whole: ${content.message}`);
    else if (content.storedSha256 !== manifest.stored.sha256 || content.plainSha256 !== manifest.plain.sha256)
      problems.push(`${id} is not whole: other bytes`);
    else whole.push(id);
  }
  const temporary = join(folder, name, '.tmp');
  if (existsSync(temporary)) {
    await store.sweep({ signal, olderThanMs: 0, now: new Date() });
    if (name !== 'copy') problems.push(...readdirSync(temporary).map((file) => `${file} was not swept`));
  }
  return { whole, problems };
}
