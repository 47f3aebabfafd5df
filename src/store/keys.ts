/** Keys of objects: `/`-separated names that mean the same in a folder and in a bucket, and never leave their root. */
import { WardenError } from '../errors.ts';

/** The folder for temporary files of local stores; no key lies in it. */
export const TEMPORARY_FOLDER = '.tmp';

/** S3's limit for a whole key, bytes; 255 is that of one file name on Linux. */
const MAX_KEY_BYTES = 1024;
const MAX_NAME_BYTES = 255;

/**
 * The key itself, when it may be used.
 * @throws WardenError `refused` for anything that is no plain relative name: it would be another place on one of the stores.
 */
export function validKey(key: string): string {
  const fault = faultOf(key);
  if (fault !== undefined) throw new WardenError('refused', `${JSON.stringify(key)} is no key of an object: ${fault}`);
  return key;
}

/** A prefix of keys may end anywhere, also inside a name; it only must not climb. */
export function validPrefix(prefix: string): string {
  // A probe makes a whole key out of it, whatever it ends with.
  if (prefix !== '') validKey(`${prefix}x`);
  return prefix;
}

/** Names of a prefix inside a bucket as people write it: slashes at both ends do not count. @throws WardenError `config-invalid` */
export function normalisePrefix(prefix: string): string {
  const normal = prefix.replace(/^\/+/, '').replace(/\/+$/, '').replaceAll(/\/+/g, '/');
  const fault = normal === '' ? undefined : faultOf(normal);
  if (fault !== undefined) throw new WardenError('config-invalid', `${JSON.stringify(prefix)} cannot be a prefix in a bucket: ${fault}`);
  return normal;
}

/** Ascending order of UTF-8 bytes, which is S3's. JavaScript's own order differs from it above U+FFFF. */
export function compareKeys(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let i = 0; i < length; i++) {
    let a = left.charCodeAt(i);
    let b = right.charCodeAt(i);
    if (a !== b) {
      // A surrogate stands for a code point above every other unit: only then do the two orders differ.
      if (a >= 0xd800 && b >= 0xd800) {
        a = a >= 0xe000 ? a - 0x800 : a + 0x2000;
        b = b >= 0xe000 ? b - 0x800 : b + 0x2000;
      }
      return a - b;
    }
  }
  return left.length - right.length;
}

function faultOf(key: string): string | undefined {
  if (key === '') return 'it is empty';
  if (!key.isWellFormed()) return 'it is no valid Unicode';
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f\\]/.test(key)) return 'it holds a control character or a backslash';
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) return `it is longer than ${MAX_KEY_BYTES} bytes`;
  const names = key.split('/');
  if (names[0] === TEMPORARY_FOLDER) return `${TEMPORARY_FOLDER} is for temporary files`;
  for (const name of names) {
    if (name === '') return 'a name in it is empty';
    if (name === '.' || name === '..') return `${name} is no name`;
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `a name in it is longer than ${MAX_NAME_BYTES} bytes`;
  }
  return undefined;
}
