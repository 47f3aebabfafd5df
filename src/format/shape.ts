/**
 * Readers of untrusted JSON: each takes a value and the path at which it was found, and returns it typed or throws an error that names
 * the path and what was expected. What is built from a {@link record} has the table's fields only, in the table's order, so the same tables
 * give the order in which objects are written and the fields that docs/formats.md must list.
 */
import { WardenError } from '../errors.ts';
import { isDecimal, NAME } from './keys.ts';
import { isId, isLineage } from './ids.ts';

export type Reader<T> = (value: unknown, path: string) => T;

/** A field that may be absent. */
export interface OptionalField<T> {
  readonly optional: Reader<T>;
}

/** One reader for each field of `T`; wrapped in {@link optional} exactly where `T` says so. */
export type Fields<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? OptionalField<NonNullable<T[K]>> : Reader<T[K]>;
};

/** Text for people: long enough for a sentence, short enough that many fit into a manifest. */
export const TEXT_LENGTH = 400;

export function optional<T>(reader: Reader<T>): OptionalField<T> {
  return { optional: reader };
}

/** An object with these fields. Others are passed over: an addition does not make a schema newer. */
export function record<T extends object>(fields: Fields<T>): Reader<T> {
  const readers = Object.entries(fields as Readonly<Record<string, Reader<unknown> | OptionalField<unknown>>>);
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(path, 'an object', value);
    const result: Record<string, unknown> = {};
    for (const [name, field] of readers) {
      // Own properties only: `__proto__` and `constructor` in hostile JSON must not answer for a field that is missing.
      const given = Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
      const at = path === '' ? name : `${path}.${name}`;
      if (typeof field === 'function') result[name] = field(given, at);
      else if (given !== undefined) result[name] = field.optional(given, at);
    }
    return result as T;
  };
}

export function list<T>(item: Reader<T>, maxLength: number): Reader<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > maxLength) throw invalid(path, `a list of at most ${maxLength}`, value);
    return value.map((each, index) => item(each, `${path}[${index}]`));
  };
}

export function oneOf<const T extends string>(...allowed: readonly T[]): Reader<T> {
  return (value, path) => {
    const found = allowed.find((each) => each === value);
    if (found === undefined) throw invalid(path, allowed.join(', '), value);
    return found;
  };
}

/** A whole number that JSON and JavaScript keep exactly; anything that may be larger is a {@link decimal}. */
export function integer(value: unknown, path: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid(path, 'a whole number, not negative', value);
  return value as number;
}

/** Printable text on one line: it ends up on terminals, so no control characters and no escape sequences. */
export const text = matching(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]*$/u, `one line of at most ${TEXT_LENGTH} printable characters`);

export const decimal = satisfying(isDecimal, 'a 64-bit number as a decimal string');
/** As HashKV gives it: `-1` for a member that never compacted. */
export const compactDecimal = satisfying((value) => value === '-1' || isDecimal(value), 'a 64-bit number as a decimal string, or -1');
export const hexId = matching(/^(?:0|[1-9a-f][0-9a-f]{0,15})$/, 'a 64-bit id as lower-case hex without padding');
export const sha256 = matching(/^[0-9a-f]{64}$/, 'a SHA-256 as 64 lower-case hex digits');
export const crc32 = matching(/^[0-9a-f]{8}$/, 'a CRC32 as 8 lower-case hex digits');
export const name = matching(NAME, 'a name of a-z, 0-9 and -, at most 40 characters');
export const id = satisfying(isId, 'the id of a backup, such as 20261122T100000123Z-k3f9qa');
export const lineage = satisfying(isLineage, '16 lower-case base32 characters');

/** RFC 3339 in UTC with milliseconds, the one spelling that JavaScript gives. */
export const time = satisfying(
  (value) => /^\d{4}-.*Z$/.test(value) && !Number.isNaN(Date.parse(value)) && new Date(value).toISOString() === value,
  'a time such as 2026-11-22T10:00:00.123Z',
);

/** The error of every reader: names the place, never more of a hostile value than fits on a line. */
export function invalid(path: string, expected: string, value: unknown): WardenError {
  const place = path === '' ? 'the whole' : path;
  return new WardenError('manifest-invalid', `${place} is ${shown(value)}, expected ${expected}`);
}

function matching(pattern: RegExp, expected: string): Reader<string> {
  return satisfying((value) => pattern.test(value), expected);
}

function satisfying(test: (value: string) => boolean, expected: string): Reader<string> {
  return (value, path) => {
    if (typeof value !== 'string' || value.length > TEXT_LENGTH || !test(value)) throw invalid(path, expected, value);
    return value;
  };
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  // JSON escapes what a terminal would act on, except DEL and C1.
  const json = JSON.stringify(value).replace(/[\u007f-\u009f]/g, '?');
  return json.length <= 60 ? json : `${json.slice(0, 57)}...`;
}
