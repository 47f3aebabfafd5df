/** The plan that the command line prints, of backups without an etcd. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ManifestFields } from '../../support/manifests.ts';
import { recordedOutput } from '../../support/recorded-output.ts';
import { sealedSnapshot, seedSnapshot } from '../../support/sealed-snapshot.ts';
import { seedFolder } from '../../support/seeded-folder.ts';
import type { RestorePlan } from '../../../src/restore/plan/types.ts';
import { runCli } from '../../../src/cli/run.ts';

const NOBODY = 'http://127.0.0.1:1';

let folder: string;
let store: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cli-restore-'));
  store = join(folder, 'store');
  const snapshot = await sealedSnapshot({ storageVersion: '3.6.0' });
  const seed = (fields: ManifestFields): void => seedFolder(store, (stores) => void seedSnapshot(stores, snapshot, fields));
  seed({ time: '2026-11-20T08:00:00.000Z' });
  seed({ time: '2026-11-20T09:00:00.000Z', suspect: 'CORRUPT was armed' });
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Planned extends RestorePlan {
  readonly notes: readonly string[];
  readonly refusals: readonly { readonly code: string; readonly message: string }[];
}

async function call(...words: string[]): Promise<{ readonly code: number; readonly text: string; readonly said: string; json(): Planned }> {
  const output = recordedOutput();
  const code = await runCli(['restore', ...words], { env: {}, output });
  const text = output.printed.join('\n');
  return { code, text, said: output.said.join('\n'), json: () => JSON.parse(text) as Planned };
}

describe('restore --plan', () => {
  test('speaks of the members of the configuration, and repeats what names store and cluster', async () => {
    const config = join(folder, 'config.yaml');
    writeFileSync(
      config,
      [
        `stateDir: ${folder}`,
        'clusters:',
        '  prod:',
        `    endpoints: [${NOBODY}]`,
        '    restore: {initialCluster: "m1=http://127.0.0.1:2,m2=http://127.0.0.1:3", dataDir: "/srv/{member}", platform: systemd}',
        `stores: {disk: {type: local, path: ${store}}}`,
      ].join('\n'),
    );
    const planned = await call('--latest', '--plan', '--config', config, '--cluster', 'prod', '--json');
    expect(planned.code).toBe(0);
    const { source, members, platform, etcd, notes, tokenFrom } = planned.json();
    expect(source).toMatchObject({
      kind: 'backup',
      time: '2026-11-20T08:00:00.000Z',
      kubernetes: false,
      auth: false,
      stores: [{ name: 'disk', local: true }],
    });
    expect(notes).toEqual([expect.stringContaining('is newer and was passed over: it is suspect: CORRUPT was armed')]);
    expect({ platform: platform.name, etcd: etcd.minor, tokenFrom }).toEqual({ platform: 'systemd', etcd: '3.6', tokenFrom: 'derived' });
    expect(members.map(({ name, here, dataDir }) => ({ name, here, dataDir }))).toEqual([
      { name: 'm1', here: true, dataDir: '/srv/m1' },
      { name: 'm2', here: true, dataDir: '/srv/m2' },
    ]);
    expect(members[0]!.restore).toContain(`--config ${config} --cluster prod`);
  });

  test('shows what would be refused, and says it in text too', async () => {
    const words = ['20261120T09', '--from', store, '--endpoints', NOBODY, '--state-dir', folder];
    const { code, text } = await call(...words, '--data-dir', folder, '--plan');
    expect(code).toBe(0);
    expect(text).toMatch(/^refused as things are now: .* is suspect: CORRUPT was armed/);
    expect(text).toContain(`refused as things are now: ${folder} is no data directory of etcd`);
    expect(text).toContain('is taken because it was named: it is suspect');
    const refused = await call(...words, '--data-dir', folder);
    expect(refused).toMatchObject({
      code: 14,
      said: expect.stringContaining(`note: also refused: the data directory ${folder} is not empty`),
    });
    expect(refused.said).toContain('error: 20261120T09');
    const free = await call(...words, '--data-dir', join(folder, 'free'), '--plan', '--accept-suspect', '--json');
    expect(free.json().refusals).toEqual([]);
  });

  test('is what there is on RKE2 and k3s; a data directory is made only where one is named', async () => {
    const words = ['--latest', '--from', store, '--endpoints', NOBODY, '--platform', 'k3s', '--state-dir', folder];
    expect(await call(...words, '--plan')).toMatchObject({ code: 0, text: expect.stringContaining('--cluster-reset') });
    expect(await call(...words)).toMatchObject({ code: 14, said: expect.stringContaining('--plan') });
  });
});

test('what belongs to --check is of no use without it', async () => {
  for (const words of [
    ['--record', 'x'],
    ['--timeout', '5s'],
  ])
    expect(await call('latest', ...words, '--from', store)).toMatchObject({ code: 2, said: expect.stringContaining('goes with --check') });
});
