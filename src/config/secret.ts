/**
 * Secrets: a file, an environment variable, a systemd credential, or (in a file that others cannot read) the text itself. What they hold is
 * checked once at load, so that a missing file is a configuration error and not the failure of the next backup, and read again at each use,
 * so that a rotated file counts.
 */
import { dirname, join, resolve } from 'node:path';
import { WardenError } from '../errors.ts';
import { readFailure, type FileAccess } from './files.ts';
import type { ConfigProblem } from './problems.ts';
import type { Entry } from './schema.ts';
import type { Origin, Secret } from './types.ts';

export interface SecretContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly files: FileAccess;
  readonly problems: ConfigProblem[];
  readonly warnings: string[];
  /** Look whether the secret is there and has the right form; false for verbs that will not use it. */
  readonly check: boolean;
}

export interface SecretRequest {
  readonly entries: Map<string, Entry>;
  /** Path of the option in its element. */
  readonly path: string;
  /** Names under `$CREDENTIALS_DIRECTORY` that are taken when nothing is configured, first found. */
  readonly credentials: readonly string[];
  /** What is wrong with the text, to be read after "expected"; undefined when it is fine. */
  readonly judge?: (text: string) => string | undefined;
}

/** The secret of one option, or undefined when it is not set anywhere. */
export function resolveSecret(request: SecretRequest, context: SecretContext): Secret | undefined {
  const found = find(request, context);
  if (found === undefined) return undefined;
  const { secret, entry } = found;
  if (!context.check) return secret;
  try {
    const text = secret.read();
    const expected = request.judge?.(text);
    if (expected !== undefined)
      context.problems.push({ path: entry.path, origin: entry.origin, expected: `${expected} in ${secret.origin}` });
  } catch (error) {
    context.problems.push({
      path: entry.path,
      origin: entry.origin,
      expected: 'a secret that can be read',
      suggestion: (error as Error).message,
    });
  }
  return secret;
}

function find(request: SecretRequest, context: SecretContext): { secret: Secret; entry: Entry } | undefined {
  const direct = request.entries.get(request.path);
  const byFile = request.entries.get(`${request.path}File`);
  const text = typeof direct?.value === 'string' ? direct.value : undefined;
  const path = typeof byFile?.value === 'string' ? byFile.value : undefined;
  if (
    direct !== undefined &&
    text !== undefined &&
    byFile !== undefined &&
    path !== undefined &&
    rank(direct.origin) === rank(byFile.origin)
  ) {
    context.problems.push({
      path: direct.path,
      origin: byFile.origin,
      expected: `only one of ${direct.option.path} and ${byFile.option.path}`,
    });
    return undefined;
  }
  if (
    byFile !== undefined &&
    path !== undefined &&
    (direct === undefined || text === undefined || rank(byFile.origin) > rank(direct.origin))
  ) {
    if (context.check) warnWhenReadable(path, byFile.path, context);
    return { secret: fileSecret(path, context.files), entry: byFile };
  }
  if (direct !== undefined && text !== undefined) {
    const secret = reference(text, direct, context);
    return secret === undefined ? undefined : { secret, entry: direct };
  }
  const folder = context.env['CREDENTIALS_DIRECTORY'];
  if (folder === undefined || folder === '' || direct === undefined) return undefined;
  const name = request.credentials.find((candidate) => context.files.stat(join(folder, candidate))?.kind === 'file');
  if (name === undefined) return undefined;
  const entry: Entry = { ...direct, value: `credential:${name}`, origin: { kind: 'credential', name } };
  request.entries.set(request.path, entry);
  return { secret: credentialSecret(folder, name, context.files), entry };
}

/** Only a file may name another place: a variable or credential is the secret itself, whatever it starts with. */
function reference(text: string, entry: Entry, context: SecretContext): Secret | undefined {
  if (entry.origin.kind === 'environment') return environmentSecret(entry.origin.name, context.env, text);
  const match = /^(env|file|credential):(.+)$/s.exec(text);
  if (match === null) return { origin: 'the configuration file', read: () => text };
  const name = match[2]!.trim();
  if (match[1] === 'env') return environmentSecret(name, context.env);
  if (match[1] === 'file') {
    const path = entry.origin.kind === 'file' ? resolve(dirname(entry.origin.path), name) : resolve(name);
    if (context.check) warnWhenReadable(path, entry.path, context);
    return fileSecret(path, context.files);
  }
  const folder = context.env['CREDENTIALS_DIRECTORY'];
  if (/[/\p{Cc}]|^\.\.?$/u.test(name)) {
    context.problems.push({
      path: entry.path,
      origin: entry.origin,
      expected: 'credential:NAME with the name of a file in the credentials directory',
    });
    return undefined;
  }
  if (folder === undefined || folder === '') {
    // Still a secret: a verb that does not use it runs outside the unit as well.
    return {
      origin: `credential ${name}`,
      read: () => fail(`credential ${name}`, 'CREDENTIALS_DIRECTORY is not set; systemd sets it for units with LoadCredential='),
    };
  }
  return credentialSecret(folder, name, context.files);
}

/** Is the text of this secret written down in the configuration file? */
export function isPlain(entry: Entry): boolean {
  return (
    entry.origin.kind === 'file' &&
    entry.option.format === 'secret' &&
    typeof entry.value === 'string' &&
    !/^(env|file|credential):./s.test(entry.value)
  );
}

function fileSecret(path: string, files: FileAccess, origin: string = `file ${path}`): Secret {
  let once: string | undefined;
  return {
    origin,
    read() {
      if (once !== undefined) return once;
      let text: string;
      try {
        text = files.read(path);
      } catch (error) {
        return fail(origin, readFailure(error));
      }
      const secret = nonEmpty(text.replace(/\r?\n$/, ''), origin);
      if (files.stat(path)?.kind === 'stream') once = secret;
      return secret;
    },
  };
}

function credentialSecret(folder: string, name: string, files: FileAccess): Secret {
  return fileSecret(join(folder, name), files, `credential ${name}`);
}

/** @param text the value where it is not simply that of the variable (`ETCDCTL_USER=root:secret`). */
function environmentSecret(name: string, env: SecretContext['env'], text?: string): Secret {
  const origin = `environment ${name}`;
  return { origin, read: () => nonEmpty(text ?? env[name] ?? fail(origin, 'the variable is not set'), origin) };
}

function nonEmpty(text: string, origin: string): string {
  return text === '' ? fail(origin, 'it is empty') : text;
}

function fail(origin: string, reason: string): never {
  throw new WardenError('config-invalid', `the secret from ${origin} cannot be read: ${reason}`);
}

/** Kubernetes mounts secrets 0644 unless told otherwise, inside a container of one user: worth a word, not a refusal. */
function warnWhenReadable(path: string, option: string, context: SecretContext): void {
  const facts = context.files.stat(path);
  if (facts?.kind === 'file' && (facts.mode & 0o004) !== 0) {
    context.warnings.push(`${option}: everyone on this machine can read ${path}; \`chmod 600 ${path}\` changes that`);
  }
}

/** What is nearer to the command line goes before: the same order as for every other option. */
function rank(origin: Origin): number {
  switch (origin.kind) {
    case 'default':
      return 0;
    case 'file':
    case 'credential':
      return 1;
    case 'environment':
      return origin.name.startsWith('ETCDCTL_') ? 2 : 3;
    case 'flag':
      return 4;
  }
}
