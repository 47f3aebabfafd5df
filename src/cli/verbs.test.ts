import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command, Option } from 'commander';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { recordedOutput } from '../../test/support/recorded-output.ts';
import { loadConfig } from '../config/load.ts';
import { realFiles, type FileAccess } from '../config/files.ts';
import { ERRORS } from '../errors.ts';
import { buildProgram } from './run.ts';
import { VERBS } from './verbs.ts';

const DOCUMENT = new URL('../../docs/cli.md', import.meta.url);
const README = new URL('../../README.md', import.meta.url);

function program(dispatched: string[] = [], line?: readonly string[]): Command {
  return buildProgram(recordedOutput(), async (verb) => void dispatched.push(verb.name), line);
}

function documented(): string {
  return [
    '# The command line',
    '',
    'Generated from `src/cli/verbs.ts`; a test holds it current (`UPDATE_DOCS=1 npm run test:unit` writes it anew).',
    '',
    '    etcd-warden VERB [ARGUMENT] [OPTIONS]',
    '',
    'Options stand behind the verb. Every verb takes those below and, without a configuration file, every flag of [configuration.md](configuration.md);',
    'which file counts is told there. Results go to standard output, everything else to standard error. `--json` prints exactly one document, also',
    'when something fails ([json.md](json.md)); exit codes are in [errors.md](errors.md).',
    '',
    table(optionsOf(VERBS[0]!.name).filter(({ attributeName }) => COMMON.has(attributeName))),
    '',
    'A backup is named by its id, by the beginning of one that fits no other, by `latest` (the newest that is verified), or by a time such as `2026-11-22` or',
    '`2026-11-22T10:00` (the newest not after it). Verbs that only read take a plain file as well, named with a slash or a suffix: `./snapshot.db`, as etcdctl saved it or',
    'as copied from `member/snap/db`, compressed with zstd or encrypted with age too.',
    '',
    'Ctrl-C (or SIGTERM) once stops cleanly, twice at once; the exit code is 130 either way, and nothing half-written is ever visible. A reader that goes away',
    '(`etcd-warden list | head -1`) ends a command that only reads; one that changes something goes on without it. In a terminal, tables leave out what does',
    'not fit and say so; `NO_COLOR` is honoured.',
    '',
    '| verb | |',
    '|---|---|',
    ...VERBS.map(({ name, summary }) => `| [\`${name}\`](#${name}) | ${summary} |`),
    '',
    ...VERBS.flatMap(({ name, arguments: argument, description, examples }) => [
      `## ${name}`,
      '',
      `    etcd-warden ${[name, argument].filter(Boolean).join(' ')}`,
      '',
      ...description.split('\n'),
      '',
      ...tableOrNothing(optionsOf(name).filter(({ attributeName }) => !COMMON.has(attributeName))),
      ...examples.flatMap(([line, what]) => [`    ${line}`, `    # ${what}`, '']),
    ]),
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
}

interface Shown {
  readonly flags: string;
  readonly description: string;
  readonly attributeName: string;
}

/** What every verb's help shows. */
const COMMON: ReadonlySet<string> = new Set(['json', 'quiet', 'config', 'cluster', 'to', 'from']);

function optionsOf(verb: string): Shown[] {
  const command = program([], [verb]).commands.find((candidate) => candidate.name() === verb)!;
  return command.options
    .filter((option: Option) => !option.hidden)
    .map((option) => ({ flags: option.flags, description: option.description, attributeName: option.attributeName() }));
}

function table(options: readonly Shown[]): string {
  return [
    '| option | |',
    '|---|---|',
    ...options.map(({ flags, description }) => `| \`${flags}\` | ${description.replaceAll('|', '\\|')} |`),
  ].join('\n');
}

function tableOrNothing(options: readonly Shown[]): string[] {
  return options.length === 0 ? [] : [table(options), ''];
}

/** The words of a command line as a shell takes them apart: quotes, and a comment or another command at the end. */
function words(line: string): string[] {
  return [...line.replace(/\s+[#|].*$/, '').matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, plain]) => single ?? double ?? plain ?? '',
  );
}

/** Every line of a text that calls us. @returns the lines without the program's name, split into words */
function commandLines(text: string): string[][] {
  const blocks = text.split('\n').filter((line) => /^ {4,}etcd-warden /.test(line));
  const inline = [...text.matchAll(/`(etcd-warden [^`]+)`/g)].map(([, line]) => line!);
  return [...blocks, ...inline].map((line) => words(line.trim()).slice(1)).filter(([verb]) => VERBS.some(({ name }) => name === verb));
}

async function parses(line: readonly string[]): Promise<boolean> {
  const dispatched: string[] = [];
  await program(dispatched, line).parseAsync(line, { from: 'user' });
  return dispatched.length === 1 && dispatched[0] === line[0];
}

describe('the table of verbs', () => {
  test('the document is what the table says', () => {
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOCUMENT, documented());
    expect(readFileSync(DOCUMENT, 'utf8')).toBe(documented());
  });

  test('every example can be run as it stands', async () => {
    for (const [line] of VERBS.flatMap(({ examples }) => examples)) expect(await parses(words(line).slice(1))).toBe(true);
  });

  test('flags that help shows are flags of the configuration', () => {
    for (const verb of VERBS) {
      const flags = optionsOf(verb.name).map((option) => option.flags);
      for (const name of verb.shows ?? []) {
        expect(flags.some((flag) => flag.startsWith(`--${name} `) || flag === `--no-${name}`)).toBe(true);
      }
    }
  });

  test('no flag carries a secret, only the path of one', () => {
    for (const command of program().commands) {
      const carrying = command.options.filter(
        ({ long, required }) => required && /password|secret|token|identity|customer-key$|access-key/.test(long ?? ''),
      );
      // etcd's own name for it: it tells clusters apart, and opens nothing.
      const names = ['--initial-cluster-token'];
      expect(carrying.filter(({ long }) => !long!.endsWith('-file') && !names.includes(long!)).map(({ long }) => long)).toEqual([]);
    }
  });

  test('the exit codes that help lists are those of the table of errors', () => {
    const listed = helpOf(program([], [])).match(/Exit codes: .*/)![0];
    const codes = new Set(Object.values(ERRORS).map(({ exit }) => exit));
    expect([...listed.matchAll(/(\d+) /g)].map(([, code]) => Number(code)).toSorted((a, b) => a - b)).toEqual(
      [0, ...codes].toSorted((a, b) => a - b),
    );
  });
});

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

describe('the README', () => {
  const text = readFileSync(README, 'utf8');

  test('every command line in it can be run as it stands', async () => {
    const lines = commandLines(text);
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) expect({ line, parses: await parses(line) }).toEqual({ line, parses: true });
  });

  test('every configuration in it loads without a remark', () => {
    const blocks = [...text.matchAll(/```yaml\n([^]*?)```/g)].map(([, block]) => block!);
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) {
      expect(parse(block)).toBeTypeOf('object');
      const path = '/etc/etcd-warden/readme.yaml';
      // Certificates are those of another machine: every other path is read as usual.
      const files: FileAccess = { ...realFiles, read: (wanted) => (wanted === path ? block : realFiles.read(wanted)) };
      const { config, warnings } = loadConfig({ flags: { config: path }, env: {}, files, uses: ['stores', 'daemon'] });
      expect(warnings).toEqual([]);
      expect(Object.keys(config.stores).length).toBeGreaterThan(0);
    }
  });

  test('every document that it names is there', () => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(5);
    expect(links.filter((link) => realFiles.stat(fileURLToPath(new URL(link, README))) === undefined)).toEqual([]);
  });
});
