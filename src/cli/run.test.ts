import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { seedAcceptance, seedBackup, seedCheck } from '../../test/support/backups.ts';
import { LINEAGE_TWO } from '../../test/support/manifests.ts';
import type { MemoryStore } from '../../test/support/memory-store.ts';
import { recordedOutput, type RecordedOutput } from '../../test/support/recorded-output.ts';
import { seedFolder } from '../../test/support/seeded-folder.ts';
import { runCli } from './run.ts';
import { VERBS } from './verbs.ts';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'cli-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran extends RecordedOutput {
  readonly code: number;
  readonly json: () => { error: { code: string; message: string; hint?: string; problems?: unknown[] } } & Record<string, unknown>;
}

/** Nothing of the real environment counts, not even a configuration of this machine: `--from` or `--config` is in every call that reads one. */
async function call(words: readonly string[], env: NodeJS.ProcessEnv = {}, width = Infinity): Promise<Ran> {
  const output = recordedOutput({ width });
  const code = await runCli(words, { env, output });
  return { ...output, code, json: () => JSON.parse(output.printed.join('\n')) as ReturnType<Ran['json']> };
}

let stores = 0;
function seeded(seed: (stores: readonly MemoryStore[]) => void): string {
  const path = join(folder, `store-${++stores}`);
  seedFolder(path, seed);
  return path;
}

const at = (hour: number): string => `2026-11-20T${String(hour).padStart(2, '0')}:00:00.000Z`;

test('what a verb says in the middle of its work does not stand behind the live line', async () => {
  const output = recordedOutput({ live: true });
  vi.useFakeTimers();
  const load = vi
    .spyOn(
      VERBS.find(({ name }) => name === 'list')!,
      'load',
    )
    .mockResolvedValue({
      run: ({ context, output: own }) => {
        context.progress({ step: 'compare', message: 'comparing' });
        vi.advanceTimersByTime(1500);
        expect(output.drawn.at(-1)).toBe('comparing');
        own.err('a table');
        expect(output.drawn.at(-1)).toBe('');
        return Promise.resolve({ exitCode: 0, json: undefined, text: '' });
      },
    });
  try {
    expect(await runCli(['list', '--from', folder], { env: {}, output })).toBe(0);
    expect(output.said).toEqual(['a table']);
  } finally {
    load.mockRestore();
    vi.useRealTimers();
  }
});

test('a flag that a verb has for itself is not the option of the configuration that has the same name', async () => {
  const config = join(folder, 'own-flag.yaml');
  // A store that cannot be used just now does not keep anybody from mending the cluster.
  writeFileSync(
    config,
    'clusters: {prod: {endpoints: ["http://127.0.0.1:1"], retention: {keepLast: 5}}}\nstores: {far: {type: s3, bucket: far-away, region: r, caFile: /nowhere/ca.pem}}\n',
  );
  const given: unknown[] = [];
  const load = vi
    .spyOn(
      VERBS.find(({ name }) => name === 'defrag')!,
      'load',
    )
    .mockResolvedValue({
      run: ({ loaded, options }) => {
        given.push([options['member'], Object.values(loaded.config.clusters)[0]!.member]);
        return Promise.resolve({ json: undefined, text: '' });
      },
    });
  try {
    for (const where of [
      ['--config', config],
      ['--endpoints', '127.0.0.1:1'],
    ]) {
      expect(await call(['defrag', '--member', 'm2', ...where, '--member', 'm3'])).toMatchObject({ code: 0, said: [] });
    }
    expect(given).toEqual([
      [['m2', 'm3'], 'leader'],
      [['m2', 'm3'], 'leader'],
    ]);
  } finally {
    load.mockRestore();
  }
});

describe('words that are not understood', () => {
  test.each([
    ['a verb that does not exist', ['bogus'], "unknown command 'bogus'", 'etcd-warden --help'],
    ['a mistyped verb', ['lst'], "unknown command 'lst' (Did you mean list?)", 'etcd-warden --help'],
    ['an option that does not exist', ['list', '--bogus'], "unknown option '--bogus'", 'etcd-warden list --help'],
    [
      'an option before the verb',
      ['--config', 'x', 'list'],
      "unknown option '--config'",
      'options stand behind the verb: etcd-warden list ...',
    ],
    ['a missing argument', ['show'], "missing required argument 'id'", 'etcd-warden show --help'],
    ['one argument too many', ['status', 'x'], 'too many arguments', 'etcd-warden status --help'],
    ['a choice that there is not', ['config', 'chek'], 'Allowed choices are check, print, docs', 'etcd-warden config --help'],
    [
      'an index of a plain file',
      ['verify', './x.db', '--repair-index'],
      '--repair-index does not go with a file',
      'etcd-warden verify ./x.db',
    ],
    ['an option without its value', ['list', '--from'], "option '--from <store>' argument missing", 'etcd-warden list --help'],
    ['two choices that exclude each other', ['verify', '--all', '--latest', '--from', '/x'], 'exclude each other', 'the newest backup'],
    [
      'a level that does not exist',
      ['verify', '--level', 'deep', '--from', '/x'],
      '--level "deep" is not known',
      'stored, content, proved',
    ],
    [
      'what another action of the same verb takes',
      ['member', 'remove', 'm3', '--data-dir', '/var/lib/etcd'],
      '`member remove` knows no --data-dir',
      'goes with `member replace`',
    ],
    ['a wait that there is none of', ['member', 'replace', 'm3', '--no-wait'], 'knows no --no-wait', '`member add` and `member promote`'],
    ['copy without saying what', ['copy', '--from', '/x', '--to', '/y'], 'name one backup, or say --missing', 'etcd-warden copy latest'],
  ])('fault 77: %s is exit code 2, for people on stderr and for programs as one document on stdout', async (_, words, sentence, hint) => {
    const people = await call(words);
    expect(people).toMatchObject({ code: 2, printed: [] });
    expect(people.said.join('\n')).toContain(sentence);
    const programs = await call([...words, '--json']);
    // Commander takes what follows an option for its value.
    if (words.at(-1) === '--from') return;
    expect(programs).toMatchObject({ code: 2, said: [] });
    expect(programs.json().error.code).toBe('usage');
    expect(programs.json().error.message).toContain(sentence);
    expect(programs.json().error.hint).toContain(hint);
  });

  test('without any word the help is the answer, and it is no success', async () => {
    const { code, said, printed } = await call([]);
    expect({ code, printed }).toEqual({ code: 2, printed: [] });
    expect(said.join('\n')).toContain('Usage: etcd-warden');
  });

  test.each([['--password=hunter2'], ['--s3-secret-access-key=hunter2'], ['--token=hunter2\nhunter2']])(
    'a secret that was tried as a flag is not repeated: %s',
    async (flag) => {
      for (const words of [
        ['backup', flag],
        ['backup', flag, '--json'],
        [flag, 'backup'],
      ]) {
        const { code, said, printed } = await call(words);
        expect(code).toBe(2);
        expect([...said, ...printed].join('\n')).not.toContain('hunter2');
      }
    },
  );
});

describe('help', () => {
  test.each(VERBS.map((verb) => [verb.name, verb] as const))('%s: says what it is, with examples', async (name, verb) => {
    const { code, printed } = await call([name, '--help']);
    expect(code).toBe(0);
    expect(verb.examples.length).toBeGreaterThan(0);
    for (const [line] of verb.examples) {
      expect(line.startsWith(`etcd-warden ${name}`)).toBe(true);
      expect(printed.join('\n')).toContain(line);
    }
  });

  test('fault 77: wraps at 40 columns, examples apart, which are there to be copied', async () => {
    for (const words of [['--help'], ...VERBS.map(({ name }) => [name, '--help'])]) {
      const { printed } = await call(words, {}, 40);
      const described = printed.join('\n').split(/\n(?:Examples|The simplest use)/)[0]!;
      const wide = described.split('\n').filter((line) => line.length > 40);
      // An option's own spelling is never broken.
      expect(wide.filter((line) => !/^ {2}-|^Usage|^Every other/.test(line) && / /.test(line.trim()))).toEqual([]);
    }
  });

  test('--version prints the version alone', async () => {
    expect((await call(['--version'])).printed).toEqual([expect.stringMatching(/^\d+\.\d+\.\d+$/)]);
  });
});

describe('which configuration counts', () => {
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const broken = 'clusters:\n  main:\n    endpints: [a]\n    backup: {maxAge: 1D}\nstores:\n  disk: {type: local}\n';
  const two = (): string =>
    file(
      'two.yaml',
      `clusters: {a: {endpoints: ['127.0.0.1:1']}, b: {endpoints: ['127.0.0.1:1']}}\nstores: {disk: {type: local, path: ${folder}/disk}}\n`,
    );

  test('fault 76: every error at once, with path, value, expectation and suggestion, exit code 2', async () => {
    const path = file('broken.yaml', broken);
    const { code, said, printed } = await call(['config', 'check', '--config', path]);
    expect({ code, printed }).toEqual({ code: 2, printed: [] });
    const text = said.join('\n');
    expect(text).toContain('did you mean endpoints?');
    expect(text).toContain('got "1D"; did you mean 1d?');
    expect(text).toContain('stores.disk');
    const { error } = (await call(['backup', '--config', path, '--json'])).json();
    expect(error.code).toBe('config-invalid');
    expect(error.problems!.length).toBeGreaterThanOrEqual(3);
    expect(error.problems).toContainEqual(expect.objectContaining({ path: 'clusters.main.backup.maxAge', value: '"1D"' }));
  });

  test('fault 76: nothing is started', async () => {
    const path = file('nothing.yaml', broken.replace('{type: local}', `{type: local, path: ${folder}/never}`));
    for (const verb of ['backup', 'run', 'list', 'prune']) expect((await call([verb, '--config', path])).code).toBe(2);
    expect(existsSync(join(folder, 'never'))).toBe(false);
  });

  test('config docs does not look at it, broken or gone', async () => {
    for (const words of [['--config', file('broken.yaml', broken)], ['--config', '/nonexistent/x.yaml'], []]) {
      const { code, printed, said } = await call(['config', 'docs', ...words], { ETCD_WARDEN_CONFIG: '/nonexistent/y.yaml' });
      expect({ code, said }).toEqual({ code: 0, said: [] });
      expect(printed[0]).toContain('## The top level');
    }
    expect((await call(['config', 'docs', '--json'])).json()).toEqual({ markdown: expect.stringContaining('# ') });
  });

  test('--config goes before ETCD_WARDEN_CONFIG, which goes before nothing', async () => {
    const path = two();
    expect((await call(['config', 'check', '--json'], { ETCD_WARDEN_CONFIG: path })).json()['file']).toBe(path);
    expect((await call(['config', 'check', '--config', path, '--json'], { ETCD_WARDEN_CONFIG: '/nonexistent' })).json()['file']).toBe(path);
    expect((await call(['config', 'check', '--json'], { ETCD_WARDEN_CONFIG: '/nonexistent' })).json().error.code).toBe('config-invalid');
  });

  test('beside a file --endpoints is a usage error', async () => {
    const { code, said } = await call(['status', '--config', two(), '--endpoints', '127.0.0.1:2379', '--cluster', 'a']);
    expect(code).toBe(2);
    expect(said.join('\n')).toMatch(/--endpoints.*beside a configuration file/);
  });

  test('beside a file the flags of maintenance count where it is done by hand, for the cluster that is meant; others never', async () => {
    for (const verb of ['compact', 'defrag', 'disarm']) {
      const flags = ['--no-coordinate', '--quota', '12 parsecs', '--config', two(), '--cluster', 'b'];
      const { code, said } = await call([verb, ...flags]);
      expect(code).toBe(2);
      expect(said.join('\n')).toMatch(/--quota: expected a size/);
      expect(said.join('\n')).not.toMatch(/beside a configuration file|coordinate/);
      expect((await call([verb, '--user', 'x', '--config', two()])).said.join('\n')).toMatch(/--user.*beside a configuration file/);
    }
    const { said } = await call(['status', '--no-coordinate', '--config', two(), '--cluster', 'b']);
    expect(said.join('\n')).toMatch(/no --coordinate beside a configuration file/);
  });

  test('several clusters are a question, not a guess', async () => {
    for (const verb of ['backup', 'list', 'status', 'prune', 'accept-cluster']) {
      const { code, said } = await call([verb, '--config', two()]);
      expect(code).toBe(2);
      expect(said.join('\n')).toMatch(/several clusters.*a, b\nhint: choose one with --cluster/);
    }
  });

  test('--from and --to choose another store than the file names', async () => {
    const path = seeded((store) => void seedBackup(store, { time: at(1), cluster: 'a' }));
    const { code, printed } = await call(['list', '--config', two(), '--cluster', 'a', '--from', path]);
    expect(code).toBe(0);
    expect(printed[0]).toContain('20261120T010000000Z');
  });

  test('the variables of etcdctl count only without a file', async () => {
    const env = { ETCDCTL_ENDPOINTS: 'http://10.1.2.3:2379', ETCDCTL_USER: 'root:hunter2' };
    const without = await call(['config', 'print', '--to', join(folder, 'x')], env);
    expect(without.printed[0]).toMatch(/endpoints: .*10\.1\.2\.3.*# environment ETCDCTL_ENDPOINTS/);
    expect(without.printed[0]).not.toContain('hunter2');
    expect((await call(['config', 'print', '--config', two()], env)).printed[0]).not.toContain('10.1.2.3');
  });

  test('without a file the cluster is called --cluster, else default', async () => {
    const names = async (words: string[]): Promise<unknown> =>
      (await call(['config', 'check', '--to', join(folder, 'x'), '--json', ...words])).json()['clusters'];
    expect(await names([])).toEqual(['default']);
    expect(await names(['--cluster', 'prod'])).toEqual(['prod']);
  });

  test('a backup that would have nowhere to go is refused before anything is asked', async () => {
    const { code, said } = await call(['backup', '--endpoints', 'http://127.0.0.1:1']);
    expect(code).toBe(2);
    expect(said.join('\n')).toMatch(/no store is named\nhint: give --to/);
  });
});

describe('reading verbs', () => {
  test('nothing there is exit code 10, with a hint where to look', async () => {
    for (const words of [['list'], ['show', 'latest'], ['verify'], ['prune'], ['delete', 'x'], ['hold', 'x'], ['accept-cluster']]) {
      const { code, json } = await call([...words, '--from', join(folder, 'empty'), '--json']);
      expect({ words, code }).toEqual({ words, code: 10 });
      expect(json().error).toMatchObject({ code: 'nothing-found', hint: expect.stringContaining('--from') as string });
    }
  });

  test('a record of a restore that is none is a wrong word, not a cluster that differs', async () => {
    const path = join(folder, 'not-a-record.json');
    writeFileSync(path, '{"schema":1}');
    const { code, json } = await call(['restore', '--check', 'http://127.0.0.1:1', '--record', path, '--json']);
    expect(code).toBe(2);
    expect(json().error).toMatchObject({ code: 'usage', message: expect.stringContaining('is no record of a restore') as string });
  });

  test('without --cluster the only cluster that is found is read; of several the names are listed', async () => {
    const one = seeded((store) => void seedBackup(store, { time: at(1) }));
    expect((await call(['list', '--from', one, '--json'])).json()['cluster']).toBe('prod');
    const both = seeded((store) => {
      seedBackup(store, { time: at(1) });
      seedBackup(store, { time: at(1), cluster: 'test' });
    });
    const { code, said } = await call(['list', '--from', both]);
    expect({ code, said }).toEqual({
      code: 2,
      said: ['error: there are backups of several clusters: prod, test\nhint: choose one with --cluster'],
    });
    expect((await call(['list', '--from', both, '--cluster', 'test', '--json'])).json()['cluster']).toBe('test');
  });

  test('an id may be cut short as long as it means one backup; else the candidates are named', async () => {
    const path = seeded((store) => {
      seedBackup(store, { time: at(1) });
      seedBackup(store, { time: at(2) });
    });
    expect((await call(['show', '20261120T02', '--from', path])).code).toBe(0);
    const several = await call(['show', '20261120T', '--from', path]);
    expect(several.code).toBe(2);
    expect(several.said[0]).toMatch(/2 backups of prod begin with "20261120T"\nhint: one of 20261120T010000000Z-\w+, 20261120T020000000Z-/);
    expect((await call(['show', '2025', '--from', path])).code).toBe(10);
  });

  test('list says which generation a backup belongs to, and that nobody has accepted the newest', async () => {
    const path = seeded((store) => {
      seedBackup(store, { time: at(1) });
      seedBackup(store, { time: at(2), lineage: LINEAGE_TWO, clusterId: 'aaaa', clusterIdAtEnd: 'aaaa' });
    });
    const { code, printed } = await call(['list', '--from', path]);
    expect(code).toBe(0);
    expect(printed[0]).toMatch(/GENERATION/);
    expect(printed[0]).toMatch(
      new RegExp(
        `note: generation 2 \\(${LINEAGE_TWO}, cluster aaaa, since 20261120T02\\S+\\) is not accepted.*accept-cluster --cluster prod`,
      ),
    );
    const accepted = await call(['accept-cluster', '--from', path, '--reason', 'restored']);
    expect(accepted).toMatchObject({ code: 0, printed: [expect.stringContaining('is accepted;')] });
    expect((await call(['list', '--from', path])).printed[0]).not.toContain('not accepted');
    expect((await call(['accept-cluster', '--from', path])).printed[0]).toContain('is accepted already');
  });

  test('fault 77: every table fits 40 and 80 columns', async () => {
    const path = seeded((store) => {
      for (let hour = 1; hour <= 3; hour++)
        seedBackup(store, { time: at(hour), label: 'a label of several words that somebody thought would be useful' });
      seedAcceptance(store);
    });
    for (const width of [40, 80]) {
      for (const words of [['list'], ['prune', '--dry-run', '--keep-last', '1'], ['verify', '--all', '--level', 'stored']]) {
        const { printed } = await call([...words, '--from', path], {}, width);
        const table = printed[0]!.split('\n').filter((line) => !line.startsWith('note:'));
        expect(table.filter((line) => line.length > width)).toEqual([]);
      }
    }
    const wide = await call(['list', '--from', path], {}, 80);
    expect(wide.printed[0]).toMatch(/^ID +AGE/);
  });
});

describe('verbs that change what is stored', () => {
  const seedThree = (): string =>
    seeded((store) => {
      for (let hour = 1; hour <= 3; hour++) seedBackup(store, { time: at(hour) });
    });
  const manifests = (path: string): string[] =>
    readdirSync(join(path, 'prod'))
      .filter((name) => name.endsWith('.json'))
      .toSorted();

  test('hold keeps a backup from delete and prune until release, and list shows the reason', async () => {
    const path = seedThree();
    const held = await call(['hold', '20261120T01', '--reason', 'before the upgrade', '--from', path]);
    expect(held).toMatchObject({ code: 0, printed: [expect.stringMatching(/^20261120T01\S+ is held until it is released$/)] });
    expect((await call(['list', '--from', path])).printed[0]).toContain('held: before the upgrade');
    const refused = await call(['delete', '20261120T01', '--from', path, '--json']);
    expect(refused.code).toBe(14);
    expect(refused.json().error.message).toContain('before the upgrade');
    expect((await call(['prune', '--keep-last', '1', '--from', path])).code).toBe(0);
    expect(manifests(path)).toHaveLength(2);
    expect((await call(['release', '20261120T01', '--from', path])).code).toBe(0);
    expect((await call(['delete', '20261120T01', '--from', path])).code).toBe(0);
    expect(manifests(path)).toHaveLength(1);
  });

  test('the last verified backup is never deleted: exit code 14, and nothing went', async () => {
    const path = seeded((store) => void seedBackup(store, { time: at(1) }));
    const { code, said } = await call(['delete', 'latest', '--from', path]);
    expect(code).toBe(14);
    expect(said[0]).toMatch(/stays on local: .*\nhint: the same guard keeps prune from it/);
    expect(manifests(path)).toHaveLength(1);
  });

  test('delete says of a store that it has not got the backup', async () => {
    const path = seedThree();
    expect((await call(['delete', 'latest', '--store', 'nope', '--from', path])).said[0]).toContain('there is no store named nope');
  });

  test('prune without a rule removes nothing; --dry-run shows and removes nothing; then it does what was shown', async () => {
    const path = seedThree();
    expect((await call(['prune', '--from', path])).printed[0]).toMatch(/0 of 3 removed$/);
    const dry = await call(['prune', '--keep-last', '1', '--dry-run', '--from', path]);
    expect(dry.printed[0]).toMatch(/would-remove[\s\S]*2 of 3 would be removed$/);
    expect(manifests(path)).toHaveLength(3);
    expect((await call(['prune', '--keep-last', '1', '--from', path])).printed[0]).toMatch(/2 of 3 removed$/);
    expect(manifests(path)).toHaveLength(1);
  });

  test('verify finds bytes that are not those of the manifest: exit code 13, and list shows it from then on', async () => {
    const path = seedThree();
    const { code, printed } = await call(['verify', '--level', 'stored', '--from', path]);
    expect(code).toBe(13);
    expect(printed[0]).toMatch(/failed.*SHA-256/);
    expect((await call(['list', '--from', path])).printed[0]).toMatch(/20261120T03.*FAILED/);
  });

  test('a hold that does not exist on any backup is exit code 10, an ambiguous one 2', async () => {
    const path = seedThree();
    expect((await call(['hold', '2024', '--from', path])).code).toBe(10);
    expect((await call(['release', '2026', '--from', path])).code).toBe(2);
    expect((await call(['delete', '2026', '--from', path])).code).toBe(2);
  });

  test('a store that was not asked is not called missing', async () => {
    const path = seeded((store) => void seedBackup(store, { time: at(1), stores: ['local', 's3'] }));
    expect((await call(['list', '--from', path])).printed[0]).toContain('local s3(not asked)');
    const { backups } = (await call(['list', '--from', path, '--json'])).json() as unknown as { backups: unknown[] };
    expect(backups[0]).toMatchObject({ stores: ['local', 's3'], unasked: ['s3'] });
  });

  test('suspect backups are called so', async () => {
    const path = seeded((store) => {
      const { id } = seedBackup(store, { time: at(1) });
      seedCheck(store, { id, kind: 'suspect', reason: 'members disagree' });
    });
    expect((await call(['list', '--from', path])).printed[0]).toContain('complete, suspect');
  });
});

describe('status and healthcheck', () => {
  test('status shows the half that answers: no etcd, but backups', async () => {
    const path = seeded((store) => void seedBackup(store, { time: at(1) }));
    const { code, printed } = await call(['status', '--endpoints', 'http://127.0.0.1:1', '--from', path]);
    expect(code).toBe(1);
    expect(printed[0]).toMatch(/^cluster prod: /);
    expect(printed[0]).toMatch(/newest verified backup: 20261120T01\S+, \S+ ago/);
  });

  test('status calls a cluster without backups what it is', async () => {
    const { code, printed } = await call([
      'status',
      '--endpoints',
      'http://127.0.0.1:1',
      '--from',
      join(folder, 'empty'),
      '--cluster',
      'x',
    ]);
    expect(code).toBe(1);
    expect(printed[0]).toMatch(/NOT PROTECTED: there is no backup/);
  });

  test('a daemon that is not there is said in a sentence', async () => {
    const { code, said } = await call(['healthcheck', '--http-listen', '127.0.0.1:1']);
    expect(code).toBe(1);
    expect(said[0]).toMatch(/the daemon does not answer at http:\/\/127\.0\.0\.1:1\/healthz \(.*\)\nhint: /);
  });
});
