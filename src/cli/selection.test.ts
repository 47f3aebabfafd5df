import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { recordedOutput } from '../../test/support/recorded-output.ts';
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import type { Store } from '../store/types.ts';
import { silentLogger } from '../telemetry/logger.ts';
import { chosenCluster, clusterSettings, requireStore, withCopyStores, withReadStores } from './selection.ts';
import type { Answer, Invocation } from './verb.ts';

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'selection-'));
  file = join(folder, 'config.yaml');
  writeFileSync(
    file,
    `clusters:
  a: {endpoints: ['127.0.0.1:1'], backup: {stores: [one]}, retention: {keepLast: 1}}
  b: {endpoints: ['127.0.0.1:1']}
stores:
  one: {type: local, path: ${folder}/one}
  two: {type: local, path: ${folder}/two}
`,
    { mode: 0o600 },
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(flags: Record<string, unknown>, apart = false): LoadedConfig {
  return loadConfig({ flags, env: {}, cwd: folder, apart });
}

function invocation(loaded: LoadedConfig): Invocation {
  const { signal } = new AbortController();
  const context = { config: loaded.config, logger: silentLogger, signal, progress: () => undefined, now: () => new Date() };
  return { arguments: [], options: {}, loaded, context, output: recordedOutput(), json: false, ask: undefined };
}

const names = (stores: readonly Store[]): Answer => ({ json: stores.map(({ name }) => name), text: '' });
const read = async (flags: Record<string, unknown>): Promise<unknown> =>
  (await withReadStores(invocation(load(flags)), async (stores) => names(stores))).json;
const copy = async (flags: Record<string, unknown>): Promise<unknown> =>
  (
    await withCopyStores(invocation(load(flags, true)), async (from, to, explicit) => ({
      json: { from: names(from).json, to: names(to).json, explicit },
      text: '',
    }))
  ).json;

describe('what a call works on', () => {
  test('the cluster is the one that is named, else the only one, else a question', () => {
    expect(chosenCluster(load({ config: file, cluster: 'b' }))).toBe('b');
    expect(chosenCluster(load({ to: ['x'] }))).toBe('default');
    expect(() => chosenCluster(load({ config: file }))).toThrow('several clusters are configured: a, b');
  });

  test('settings are those of the cluster; without a file those of the call, whatever the cluster is called', () => {
    expect(clusterSettings(load({ config: file }), 'a')?.retention.keepLast).toBe(1);
    expect(clusterSettings(load({ config: file }), 'other')).toBeUndefined();
    expect(clusterSettings(load({ from: ['x'], keepLast: '7' }), 'found')?.retention.keepLast).toBe(7);
  });

  test('stores that are read: those named, else those of the cluster, else all', async () => {
    expect(await read({ config: file, from: ['two'] })).toEqual(['two']);
    expect(await read({ config: file, cluster: 'a' })).toEqual(['one']);
    expect(await read({ config: file })).toEqual(['one', 'two']);
    expect(await read({ from: ['./x'] })).toEqual(['local']);
    await expect(read({})).rejects.toMatchObject({ code: 'usage', message: 'no store is named' });
  });

  test('copy: from wherever a whole copy is, to those of the cluster; a destination that is named gets everything', async () => {
    expect(await copy({ config: file, cluster: 'a' })).toEqual({ from: ['one'], to: ['one'], explicit: false });
    expect(await copy({ config: file, cluster: 'a', to: ['two'] })).toEqual({ from: ['one', 'two'], to: ['two'], explicit: true });
    expect(await copy({ config: file, from: ['one'], to: ['two'] })).toEqual({ from: ['one'], to: ['two'], explicit: true });
  });

  test('a backup needs a store to go to', () => {
    expect(() => requireStore(load({ to: ['x'] }), 'default')).not.toThrow();
    expect(() => requireStore(load({}), 'default')).toThrow('no store is named');
  });
});
