/**
 * Databases of an etcd that is newer than those whose source this version was checked against. etcd raises `storageVersion` with the minor version
 * that changes what is stored, and refuses to open what is newer itself (server/storage/schema/schema.go).
 *
 * What can be known of such a file: bbolt and the records of keys have not changed since 3.0, so that reading keys is worth offering, with a warning,
 * and each record still has to parse. What would be a guess: that HashKV counts the same bytes, and that a restored cluster would start. So proof is
 * refused, and so is whatever writes a data directory.
 */
import { WardenError } from '../errors.ts';
import { notEtcd } from './errors.ts';

/** A head of a database, or a manifest. */
export interface Versioned {
  readonly storageVersion?: string | undefined;
}

/** The last minor version that the readers were held against. */
const KNOWN = { major: 3, minor: 7 };

/**
 * A sentence for people when the file is of a newer schema; undefined when it is known.
 * @throws WardenError `not-etcd` when the storage version is none
 */
export function newerSchema({ storageVersion }: Versioned): string | undefined {
  // Up to 3.5 the file names no version; 3.6 and later write one some time after the upgrade, when all members have it.
  if (storageVersion === undefined) return undefined;
  const match = /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:[-+].*)?$/.exec(storageVersion);
  if (match === null) throw notEtcd('its storage version is no version');
  const [major, minor] = [Number(match[1]), Number(match[2])];
  if (major < KNOWN.major || (major === KNOWN.major && minor <= KNOWN.minor)) return undefined;
  return `it was written by etcd ${major}.${minor}, and this version knows etcd up to ${KNOWN.major}.${KNOWN.minor}`;
}

/**
 * @param what the thing that is refused, e.g. `its proof`
 * @throws WardenError `newer-schema`, `not-etcd`
 */
export function requireKnownSchema(head: Versioned, what: string): void {
  const newer = newerSchema(head);
  if (newer !== undefined)
    throw new WardenError('newer-schema', `${what} would be a guess: ${newer}`, {
      hint: 'use a newer etcd-warden; keys can be read with this one',
    });
}
