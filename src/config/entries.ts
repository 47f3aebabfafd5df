/** What building the parts of a configuration from their entries shares: access, computed defaults, and checks of options that go together. */
import type { ConfigProblem } from './problems.ts';
import type { Entry } from './schema.ts';
import type { SecretContext } from './secret.ts';

export type Entries = Map<string, Entry>;

/** What the checks know beyond the element. */
export interface BuildContext extends SecretContext {
  readonly now: Date;
  /** Names of all stores. */
  readonly stores: readonly string[];
  /** Bare endpoints are https whatever else is configured. */
  readonly forceTls: boolean;
  readonly fileless: boolean;
  /** Look at what decrypts backups: not needed to take them. */
  readonly checkIdentity: boolean;
}

export function getter(entries: Entries): <T>(path: string) => T | undefined {
  return <T>(path: string) => entries.get(path)?.value as T | undefined;
}

/** A computed default, so that `config print` shows what counts. */
export function setDefault(entries: Entries, path: string, value: unknown): void {
  const entry = entries.get(path)!;
  if (entry.value === undefined && value !== undefined) entries.set(path, { ...entry, value });
}

export function together(entries: Entries, paths: readonly [string, string], context: BuildContext): void {
  const [first, second] = paths.map((path) => entries.get(path)!) as [Entry, Entry];
  if ((first.value === undefined) === (second.value === undefined)) return;
  const set = first.value === undefined ? second : first;
  context.problems.push({ path: set.path, origin: set.origin, expected: `${(set === first ? second : first).option.path} beside it` });
}

export function readable(entries: Entries, paths: readonly string[], context: BuildContext): void {
  if (!context.check) return;
  for (const path of paths) {
    const entry = entries.get(path);
    if (typeof entry?.value !== 'string') continue;
    const problem = fileProblem(entry.value, context);
    if (problem !== undefined)
      context.problems.push({
        path: entry.path,
        origin: entry.origin,
        value: JSON.stringify(entry.value),
        expected: 'a file that can be read',
        suggestion: problem,
      });
  }
}

function fileProblem(path: string, context: BuildContext): string | undefined {
  const facts = context.files.stat(path);
  if (facts === undefined) return 'there is no such file, or it may not be looked at by this user';
  return facts.kind === 'folder' ? 'it is a folder' : undefined;
}

/** `path` may be set only when `allowed`. */
export function needs(entries: Entries, path: string, allowed: boolean, expected: string, context: BuildContext): void {
  const entry = entries.get(path);
  if (!allowed && entry?.value !== undefined) context.problems.push({ path: entry.path, origin: entry.origin, expected });
}

export function missing(entries: Entries, path: string, expected: string, context: { readonly problems: ConfigProblem[] }): void {
  const entry = entries.get(path)!;
  context.problems.push({ path: entry.path, origin: entry.origin, expected });
}

/** Loopback in the forms that can stand before the port. A name other than localhost may resolve to anything. */
export function isLoopback(address: string): boolean {
  const host = address.replace(/^https?:\/\//, '').replace(/:\d+$/, '');
  return host === 'localhost' || /^127(\.\d{1,3}){3}$/.test(host) || host === '[::1]';
}
