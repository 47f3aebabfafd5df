/** `--to` and `--from`: configured stores, or stores made up for one call from a path or an s3:// address. */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { parseStoreAddress, type StoreAddress } from './address.ts';
import { didYouMean } from './formats.ts';
import type { Environment, Flags } from './given.ts';
import { envNameOfFlag } from './option.ts';
import { maskText, type ConfigProblem } from './problems.ts';
import { closest } from './suggest.ts';
import type { Origin, StoreConfig } from './types.ts';

/** What one of the two flags asks for. */
export interface Wish {
  readonly address: Exclude<StoreAddress, { kind: 'name' }> | { readonly kind: 'name'; readonly name: string };
  readonly origin: Origin;
}

export interface Wishes {
  readonly from: readonly Wish[];
  readonly to: readonly Wish[];
}

/**
 * Reads both flags (and, without a file, their variables).
 * @param configured names of the stores of the file; undefined without one, where a bare word is a folder.
 * @param apart true for `copy`, whose source and destination differ; elsewhere the two are one.
 */
export function readWishes(
  flags: Flags,
  env: Environment,
  cwd: string,
  configured: readonly string[] | undefined,
  apart: boolean,
  problems: ConfigProblem[],
): Wishes {
  const read = (flag: 'from' | 'to'): Wish[] =>
    given(flag, flags, configured === undefined ? env : {}).flatMap(({ text, origin }) => {
      const wish = readWish(text, origin, cwd, configured, problems);
      return wish === undefined ? [] : [wish];
    });
  const from = read('from');
  const to = read('to');
  if (apart) return { from, to };
  if (from.length > 0 && to.length > 0) {
    problems.push({
      path: '--from',
      origin: { kind: 'flag', name: 'from' },
      expected: 'only one of --from and --to, which mean the same here',
    });
  }
  const both = from.length > 0 ? from : to;
  return { from: both, to: both };
}

function given(flag: 'from' | 'to', flags: Flags, env: Environment): { text: string; origin: Origin }[] {
  const value = flags[flag];
  const origin: Origin = { kind: 'flag', name: flag };
  if (typeof value === 'string') return [{ text: value, origin }];
  if (Array.isArray(value)) return value.filter((text) => typeof text === 'string').map((text) => ({ text, origin }));
  const name = envNameOfFlag(flag);
  const text = env[name];
  return text === undefined || text === '' ? [] : [{ text, origin: { kind: 'environment', name } }];
}

function readWish(
  text: string,
  origin: Origin,
  cwd: string,
  configured: readonly string[] | undefined,
  problems: ConfigProblem[],
): Wish | undefined {
  const path = origin.kind === 'flag' ? `--${origin.name}` : '';
  const address = parseStoreAddress(text, cwd);
  if (address.kind === 'bad') {
    problems.push({ path, origin, value: JSON.stringify(maskText(text)), expected: address.expected, suggestion: address.suggestion });
    return undefined;
  }
  if (address.kind !== 'name' || configured?.includes(address.name) === true) return { address, origin };
  if (configured === undefined) return { address: { kind: 'local', path: resolve(cwd, text) }, origin };
  problems.push({
    path,
    origin,
    value: JSON.stringify(text),
    expected: `the name of a store (${configured.join(', ') || 'none is configured'}), a path or s3://bucket/prefix`,
    suggestion: didYouMean(closest(text, configured)) ?? `write ./${text} for a folder`,
  });
  return undefined;
}

/** The configured store that lies at an address: the call then uses its name, its keys and its settings. */
export function storeAt(address: Wish['address'], stores: Readonly<Record<string, StoreConfig>>): StoreConfig | undefined {
  return Object.values(stores).find((store) => {
    if (address.kind === 'name') return store.name === address.name;
    if (address.kind === 'local') return store.type === 'local' && store.path === address.path;
    return store.type === 's3' && store.bucket === address.bucket && store.prefix === address.prefix;
  });
}

/**
 * Manifests hold the names of the stores that a backup was meant for, so the same address must get the same name in every call:
 * `local` or `s3`, and with a part of the address' hash when another store has that name already.
 */
export function nameFor(address: Exclude<Wish['address'], { kind: 'name' }>, taken: Readonly<Record<string, unknown>>): string {
  if (!Object.hasOwn(taken, address.kind)) return address.kind;
  const place = address.kind === 'local' ? address.path : `${address.bucket}/${address.prefix}`;
  return `${address.kind}-${createHash('sha256').update(place).digest('hex').slice(0, 6)}`;
}
