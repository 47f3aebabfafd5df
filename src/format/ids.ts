/**
 * Names that are given once and sort by time: a backup's id is `<UTC, basic ISO 8601 with milliseconds>-<6 random base32>`, such as
 * `20261122T100000123Z-k3f9qa`. The revision cannot be part of it (it is known only when the stream has ended, parts go up before), and
 * two daemons that start in the same millisecond must not collide.
 *
 * Base32 in Crockford's alphabet, lower-case: no `i`, `l`, `o`, `u`, so that an id survives being read out over a phone.
 */
import { WardenError } from '../errors.ts';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** Five bits each: 30 bits tell apart the backups of one millisecond. */
const ID_RANDOM_LENGTH = 6;

/** 80 bits: two histories never share one, even across clusters. */
const LINEAGE_LENGTH = 16;

const STAMP = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(\d{3})Z$/;
const STAMP_LENGTH = 19;
const RANDOM = /^[0-9a-hjkmnp-tv-z]+$/;

/** `crypto.randomBytes`, or a seeded stand-in in tests: this folder has no source of chance of its own. */
export type RandomBytes = (length: number) => Uint8Array;

/** A fresh id for a backup that starts at `start`. */
export function newId(start: Date, random: RandomBytes): string {
  return `${stampOf(start)}-${base32(ID_RANDOM_LENGTH, random)}`;
}

/** A fresh name for a history: one per generation. */
export function newLineage(random: RandomBytes): string {
  return base32(LINEAGE_LENGTH, random);
}

/** Random part that keeps apart two facts of the same kind and millisecond. */
export function newSuffix(random: RandomBytes): string {
  return base32(ID_RANDOM_LENGTH, random);
}

/**
 * The lineage of everything that was imported: which history a file belongs to nobody can tell, so these form one of their own, beside the cluster's.
 */
export const IMPORTED_LINEAGE = '0'.repeat(LINEAGE_LENGTH);

export function isSuffix(text: string): boolean {
  return text.length === ID_RANDOM_LENGTH && RANDOM.test(text);
}

export function isLineage(text: string): boolean {
  return text.length === LINEAGE_LENGTH && RANDOM.test(text);
}

export function isId(text: string): boolean {
  return timeOfId(text) !== undefined;
}

/** Milliseconds since 1970 from an id, or undefined when `text` is none of ours (a date that does not exist included). */
export function timeOfId(text: string): number | undefined {
  if (text[STAMP_LENGTH] !== '-' || !isSuffix(text.slice(STAMP_LENGTH + 1))) return undefined;
  return timeOfStamp(text.slice(0, STAMP_LENGTH));
}

/** `20261122T100000123Z`: sorts as text in the order of time, and is safe in file names and keys everywhere. */
export function stampOf(time: Date): string {
  const ms = time.getTime();
  // Date.toISOString leaves the four-digit year outside these bounds, and names would no longer sort.
  if (!(ms >= Date.UTC(1970, 0) && ms < Date.UTC(10_000, 0))) {
    throw new WardenError('failed', `the clock shows ${Number.isNaN(ms) ? 'no valid time' : `${ms} ms since 1970`}`, {
      hint: 'set the clock of this machine',
    });
  }
  return time.toISOString().replace(/[-:.]/g, '');
}

/** The inverse of {@link stampOf}. */
export function timeOfStamp(stamp: string): number | undefined {
  const parts = STAMP.exec(stamp);
  if (parts === null) return undefined;
  const [, year, month, day, hour, minute, second, ms] = parts;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
  // Date.parse takes 31 June and 24:00 for the day after: a name that is not the one we would give is not ours.
  return time >= 0 && stampOf(new Date(time)) === stamp ? time : undefined;
}

function base32(length: number, random: RandomBytes): string {
  let text = '';
  for (const byte of random(length)) text += ALPHABET[byte & 31]; // 256 is a multiple of 32: no letter is likelier than another
  return text;
}
