/** Where a store lies, as `--to` and `--from` name it: a configured store, a folder, or `s3://bucket/prefix`. */
import { resolve } from 'node:path';

export type StoreAddress =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'local'; readonly path: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string };

/** What was expected instead, to be read after "expected"; `suggestion` when one is at hand. */
export interface BadAddress {
  readonly kind: 'bad';
  readonly expected: string;
  readonly suggestion?: string;
}

/** Names of clusters and stores. They become parts of object keys and metrics, so they are narrow. */
export const NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;
export const NAME_EXPECTED = 'a name of 1 to 40 lower-case letters, digits and hyphens that starts with a letter or digit';

/** An object key has at most 1024 bytes; cluster, id and file name take up to 130 of them. */
const LONGEST_PREFIX = 800;

/**
 * @param folder what a relative path is relative to.
 * A bare word such as `offsite` is a store's name if one is called so, else a folder; the caller knows the names.
 */
export function parseStoreAddress(text: string, folder: string): StoreAddress | BadAddress {
  if (hasControlCharacters(text)) return bad('an address without control characters');
  if (/^s3:/i.test(text)) return parseS3(text);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return bad('a path or s3://bucket/prefix');
  if (text.trim() === '') return bad("a store's name, a path or s3://bucket/prefix");
  if (text.startsWith('~'))
    return bad('a path without ~, which only a shell expands', 'write the whole path, or ./~ for a folder of that name');
  if (NAME.test(text)) return { kind: 'name', name: text };
  return { kind: 'local', path: resolve(folder, text) };
}

/** Why a bucket's name is none; undefined when it is fine. Dots are allowed: such buckets are addressed in the path. */
export function checkBucket(bucket: string): string | undefined {
  const fine = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) && !bucket.includes('..') && !/^\d+\.\d+\.\d+\.\d+$/.test(bucket);
  return fine ? undefined : 'a bucket name of 3 to 63 lower-case letters, digits, dots and hyphens';
}

/** The prefix without empty segments (so without leading, trailing and double slashes), or what is wrong with it. Spaces and any script are fine. */
export function normalizePrefix(prefix: string): { readonly prefix: string } | BadAddress {
  if (hasControlCharacters(prefix) || !prefix.isWellFormed()) return bad('a prefix without control characters');
  const segments = prefix.split('/').filter((segment) => segment !== '');
  // Servers and proxies resolve `..` in a path as they like: such a key could end up outside its prefix, or nowhere.
  if (segments.includes('..') || segments.includes('.')) return bad('a prefix without . and .. between its slashes');
  const normalized = segments.join('/');
  return Buffer.byteLength(normalized) > LONGEST_PREFIX ? bad(`a prefix of at most ${LONGEST_PREFIX} bytes`) : { prefix: normalized };
}

/** An address is no URL: nothing in it is percent-decoded, and `?` and `#` are letters like any other, as in the AWS command line. */
function parseS3(text: string): StoreAddress | BadAddress {
  const match = /^s3:\/\/([^/]*)(?:\/(.*))?$/su.exec(text);
  if (match === null) return bad('s3://bucket/prefix', `did you mean s3://${text.replace(/^s3:\/*/i, '')}?`);
  const bucket = match[1]!;
  const wrong = checkBucket(bucket);
  if (wrong !== undefined)
    return bad(`s3://bucket/prefix with ${wrong}`, bucket === '' ? 'there are three slashes or nothing after s3://' : undefined);
  const prefix = normalizePrefix(match[2] ?? '');
  return 'kind' in prefix ? prefix : { kind: 's3', bucket, prefix: prefix.prefix };
}

function hasControlCharacters(text: string): boolean {
  return /[\p{Cc}\p{Zl}\p{Zp}]/u.test(text);
}

function bad(expected: string, suggestion?: string): BadAddress {
  return suggestion === undefined ? { kind: 'bad', expected } : { kind: 'bad', expected, suggestion };
}
