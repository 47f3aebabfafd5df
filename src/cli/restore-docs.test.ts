import { readFileSync, statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { recordedOutput } from '../../test/support/recorded-output.ts';
import { plannedInput, plannedSource, WHOLE } from '../../test/support/restore-plans.ts';
import { OPTIONS } from '../config/options.ts';
import { ERRORS } from '../errors.ts';
import { planRestore } from '../restore/plan/plan.ts';
import type { PlanInput } from '../restore/plan/types.ts';
import { PLATFORMS } from '../restore/types.ts';
import { buildProgram } from './run.ts';
import { VERBS } from './verbs.ts';

const PAGE = new URL('../../docs/restore.md', import.meta.url);
const page = readFileSync(PAGE, 'utf8');

/** Words in quotes, and words without blanks: all that stands in the plan and on the page. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/(?:[^\s']+|'[^']*'|\\')+/gu)].map(([word]) => word.replaceAll(/'([^']*)'/gu, '$1'));
}

/** The verb that a command line reaches. */
async function verbOf(line: string): Promise<string | undefined> {
  const dispatched: string[] = [];
  const words = wordsOf(line).slice(1);
  await buildProgram(recordedOutput(), async ({ name }) => void dispatched.push(name), words).parseAsync(words, { from: 'user' });
  return dispatched.length === 1 ? dispatched[0] : undefined;
}

describe('what a plan wants of etcd-warden', () => {
  const content = {
    ...WHOLE,
    revision: 11n,
    only: [Buffer.from('/a'), Buffer.from('/b')],
    without: [Buffer.from('/a/c')],
    defragmented: true,
  };
  const inputs: PlanInput[] = PLATFORMS.flatMap((platform) => [
    plannedInput({ platform }),
    plannedInput({
      platform,
      content: { ...content, bump: { by: 5n } },
      attempt: 2,
      builderAsked: 'native',
      owner: 'etcd',
      acceptSuspect: true,
    }),
    plannedInput({
      platform,
      content: { ...WHOLE, bump: 'none' },
      tokenGiven: true,
      source: plannedSource({ kind: 'file', name: './a.db', stores: [] }),
    }),
  ]);

  test('is understood by its command line', async () => {
    const lines = inputs
      .map(planRestore)
      .flatMap(({ steps, members }) => [
        ...steps.flatMap(({ commands, notes }) => [...commands, ...notes.flatMap((note) => note.split('\n').slice(1))]),
        ...members.flatMap(({ restore, etcdutl }) => [restore, ...(etcdutl.possible ? etcdutl.commands : [])]),
      ]);
    const own = new Set(
      lines.flatMap((line) => /(etcd-warden .*?)(?:\)$| \| |$)/u.exec(line.startsWith('etcd --') ? '' : line)?.[1] ?? []),
    );
    const run = [...own].filter((line) => /^etcd-warden (?:restore|export) /u.test(line));
    expect(run.length).toBeGreaterThan(10);
    for (const line of run) expect([line, await verbOf(line)]).toEqual([line, line.split(' ')[1]]);
  });
});

describe('docs/restore.md', () => {
  test('has command lines that can be run as they stand', async () => {
    const blocks = page.split('\n').flatMap((line) => /^ {4}(etcd-warden [^#]*)/u.exec(line)?.[1] ?? []);
    const inline = [...page.matchAll(/`(etcd-warden [^`]+)`/gu)].map(([, line = '']) => line);
    const lines = [...blocks, ...inline].map((line) => line.trim());
    expect(lines.length).toBeGreaterThan(8);
    for (const line of lines) expect([line, await verbOf(line)]).toEqual([line, line.split(' ')[1]]);
  });

  test('names no flag that nobody has', () => {
    const own = new Set(VERBS.flatMap(({ options = [] }) => options.flatMap(([flags]) => flags.match(/--[a-z-]+/gu) ?? [])));
    const options = Object.values(OPTIONS).flatMap((all) => all.flatMap(({ flag }) => (flag === undefined ? [] : [`--${flag}`])));
    // Of etcd, etcdutl, RKE2 and systemctl.
    const foreign = [
      '--force-new-cluster',
      '--data-dir',
      '--initial-cluster-state',
      '--cluster-reset',
      '--cluster-reset-restore-path',
      '--server',
      '--token',
      '--no-block',
      '--encryption-provider-config',
    ];
    const known = new Set([...own, ...options, ...foreign, '--from', '--cluster', '--config', '--identity-file', '--json']);
    const named = new Set(page.match(/(?<![\w-])--[a-z][a-z-]+/gu));
    expect(named.size).toBeGreaterThan(20);
    expect([...named].filter((flag) => !known.has(flag))).toEqual([]);
  });

  test('names no option, exit code or document that there is not', () => {
    const paths = new Set(Object.values(OPTIONS).flatMap((all) => all.map(({ path }) => path)));
    const named = page.match(/`(?:drill|restore)\.[a-zA-Z]+`/gu)?.map((path) => path.slice(1, -1)) ?? [];
    expect(named.filter((path) => !paths.has(path))).toEqual([]);
    expect(named.length).toBeGreaterThan(2);
    const codes = [...page.matchAll(/[Ee]xit code (\d+)/gu)].map(([, code]) => Number(code));
    expect(codes.filter((code) => !Object.values(ERRORS).some(({ exit }) => exit === code))).toEqual([]);
    const links = [...page.matchAll(/\]\((?!https?:)([^)#]+)/gu)].map(([, link = '']) => link);
    expect(links.length).toBeGreaterThan(3);
    for (const link of links) expect(statSync(new URL(link, PAGE)).isFile()).toBe(true);
  });
});
