/** etcd as a unit of systemd. Its unit files are read through systemctl and never changed; an environment file is, when it was named. */
import { glob, readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { asError, WardenError } from '../../../errors.ts';
import { existingInEnvironment, readEnvironment } from '../manifest/environment-file.ts';
import { flagValue, startConfig, type StartConfig } from '../manifest/start-config.ts';
import { command } from './command.ts';
import { keepCopy, replaceFile } from './files.ts';
import type { Manager } from './manager.ts';

const LOG_LINES = '400';

/** @param environmentFile absolute; the only file whose line may be changed */
export function unitManager(unit: string, environmentFile: string | undefined): Manager {
  const systemctl = (words: readonly string[], signal: AbortSignal, codes?: readonly number[]): Promise<string> =>
    command('systemctl', words, signal, codes === undefined ? {} : { codes });

  async function config(signal: AbortSignal): Promise<StartConfig> {
    const shown = propertiesOf(
      await systemctl(['show', unit, '--no-pager', '--property=LoadState,ExecStart,Environment,EnvironmentFiles'], signal),
    );
    if (shown.get('LoadState') === 'not-found')
      throw new WardenError('usage', `systemd knows no unit ${unit}`, { hint: 'systemctl list-units "*etcd*"' });
    const environment: Record<string, string> = wordsOf(shown.get('Environment') ?? '').reduce(assign, {});
    for (const line of (shown.get('EnvironmentFiles') ?? '').split('\n')) {
      const match = /^(\S+) \(ignore_errors=(yes|no)\)$/.exec(line.trim());
      if (match !== null) Object.assign(environment, await environmentIn(match[1]!, match[2] === 'yes'));
    }
    const words = wordsOf(/argv\[\]=([^]*?) ; ignore_errors=/.exec(shown.get('ExecStart') ?? '')?.[1] ?? '').flatMap((word) =>
      expanded(word, environment),
    );
    if (words.length === 0) throw new WardenError('refused', `${unit} does not tell what it starts`, { hint: `systemctl cat ${unit}` });
    const file = flagValue(words, 'config-file') ?? environment['ETCD_CONFIG_FILE'];
    return file === undefined || file === '' ? startConfig(unit, words, environment) : configFile(file);
  }

  return {
    name: unit,
    commands: { stop: `systemctl stop ${unit}`, start: `systemctl start ${unit}` },
    async running(signal) {
      // Exit code 3: not active, 4: no such unit, and the word on standard output either way.
      const state = (await systemctl(['is-active', unit], signal, [1, 3, 4])).trim();
      return !['inactive', 'failed', 'unknown'].includes(state);
    },
    // A unit that is about to be restarted is stopped by that too, and forgets how often it failed.
    async stop(signal) {
      await systemctl(['stop', unit], signal);
    },
    config,
    async setExisting(stamp, signal) {
      if (environmentFile === undefined) return undefined;
      // What does not come from that file cannot be changed in it.
      const before = await config(signal);
      const text = await readText(environmentFile);
      if (before.initialClusterState === 'existing') return undefined;
      const edit = existingInEnvironment(environmentFile, text);
      if (edit.line === undefined) return undefined;
      const copy = await keepCopy(environmentFile, `${environmentFile}.replaced-${stamp}`);
      await replaceFile(environmentFile, edit.text, signal);
      return { path: environmentFile, copy, line: edit.line, before: edit.before, after: edit.after };
    },
    async start(signal) {
      await systemctl(['reset-failed', unit], signal, [1, 5]);
      // Returns at once: etcd tells systemd that it is ready only when it has joined, and here it is watched by what it does.
      await systemctl(['start', '--no-block', unit], signal);
    },
    async log(signal) {
      const text = await command('journalctl', ['--unit', unit, '--lines', LOG_LINES, '--no-pager', '--output', 'cat'], signal).catch(
        () => '',
      );
      signal.throwIfAborted();
      return text.split('\n');
    },
  };
}

/** `Name=value` lines of `systemctl show`; a name that comes again adds a line. */
function propertiesOf(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at === -1) continue;
    const [name, value] = [line.slice(0, at), line.slice(at + 1)];
    const before = found.get(name);
    found.set(name, before === undefined ? value : `${before}\n${value}`);
  }
  return found;
}

/** Words with the quotes that systemctl puts around those with blanks. */
function wordsOf(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g)].map(([, double, single, plain]) =>
    double === undefined ? (single ?? plain ?? '') : double.replace(/\\(.)/g, '$1'),
  );
}

function assign(all: Record<string, string>, word: string): Record<string, string> {
  const at = word.indexOf('=');
  return at === -1 ? all : { ...all, [word.slice(0, at)]: word.slice(at + 1) };
}

/** systemd.service(5): `$NAME` as a word of its own becomes several, `${NAME}` stays one. */
function expanded(word: string, environment: Readonly<Record<string, string>>): string[] {
  const own = /^\$(\w+)$/.exec(word);
  if (own !== null) return wordsOf(environment[own[1]!] ?? '');
  return [word.replace(/\$\{(\w+)\}/g, (_, name: string) => environment[name] ?? '')];
}

/** A pattern stands for files in the order of their names, systemd.exec(5). */
async function environmentIn(path: string, optional: boolean): Promise<Readonly<Record<string, string>>> {
  try {
    const found = /[*?[]/.test(path) ? (await Array.fromAsync(glob(path))).toSorted() : [];
    const texts = await Promise.all((found.length === 0 ? [path] : found).map(readText));
    return Object.assign({}, ...texts.map(readEnvironment)) as Readonly<Record<string, string>>;
  } catch (error) {
    if (optional) return {};
    throw error;
  }
}

/** With a configuration file etcd reads neither flags nor environment. */
async function configFile(path: string): Promise<StartConfig> {
  const content: unknown = parse(await readText(path));
  const values = typeof content === 'object' && content !== null ? (content as Readonly<Record<string, unknown>>) : {};
  const text = (name: string): string | undefined => (typeof values[name] === 'string' ? values[name] : undefined);
  return {
    where: path,
    name: text('name'),
    initialCluster: text('initial-cluster'),
    initialClusterState: text('initial-cluster-state'),
  };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new WardenError('disk-failed', `${path} cannot be read: ${asError(error).message}`, { cause: error });
  }
}
