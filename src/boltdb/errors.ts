import { WardenError } from '../errors.ts';

export function notBolt(sentence: string): WardenError {
  return new WardenError('not-bolt', sentence, {
    hint: 'a bbolt database begins with two meta pages: is this an etcd snapshot, and is it decompressed and decrypted?',
  });
}

/** Where in a database something is. */
export interface Place {
  /** Absent for what is no page's alone, such as the end of the database. */
  readonly id?: number;
  /** The page of a bucket that lies inside of page `id`. */
  readonly inline?: boolean;
  /** Names of the buckets around it, from the outermost; none for the tree that holds the buckets, absent for what belongs to no tree. */
  readonly path?: readonly string[];
}

/** One fault of a database. */
export interface Finding {
  /** Undefined when it is no page's alone. */
  readonly page: number | undefined;
  /** Names of the buckets around it, from the outermost; empty for the tree that holds the buckets and for what belongs to no tree. */
  readonly bucket: readonly string[];
  readonly reason: string;
}

/** The error `bolt-damaged`, with what it found in parts. */
export class Damage extends WardenError {
  readonly finding: Finding;

  constructor(place: Place | string, reason: string) {
    const where = typeof place === 'string' ? place : nameOf(place);
    super('bolt-damaged', `${where} of the database is damaged: ${reason}`, {
      hint: 'use another backup; to see all faults of this one: `bbolt check FILE`',
    });
    const { id, path = [] }: Place = typeof place === 'string' ? {} : place;
    this.finding = { page: id, bucket: path, reason };
  }
}

/** @param place or what to call it, e.g. `the end` */
export function damaged(place: Place | string, reason: string): Damage {
  return new Damage(place, reason);
}

/** @returns e.g. `page 12 (bucket key)` */
function nameOf({ id, inline = false, path }: Place): string {
  const owner = path === undefined ? undefined : path.length === 0 ? 'the tree of buckets' : `bucket ${path.join('/')}`;
  const page = `page ${id}`;
  if (inline) return `the inline page of ${owner} in ${page}`;
  if (id === undefined) return owner!;
  return owner === undefined ? page : `${page} (${owner})`;
}
