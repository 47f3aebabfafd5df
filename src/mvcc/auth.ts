/**
 * Users and roles, by name only: buckets `auth` (authEnabled, authRevision), `authUsers` (authpb.User { 1 name, 2 password, 3 roles, 4 options }) and
 * `authRoles` (authpb.Role { 1 name, 2 keyPermission { 1 permType, 2 key, 3 range_end } }), the same from 3.4 to 3.7. The hashes of passwords are
 * passed over and never copied.
 */
import type { Bolt, Bucket } from '../boltdb/bolt.ts';
import { notEtcd } from './errors.ts';
import { BYTES, type Cursor, expectWire, readBytes, readTag, readUnsigned, skipValue, VARINT } from './protobuf.ts';

export interface StoredAuth {
  readonly enabled: boolean;
  /** Counts every change of users and roles; 0n when there never was one. */
  readonly revision: bigint;
  readonly users: readonly StoredUser[];
  readonly roles: readonly StoredRole[];
}

export interface StoredUser {
  readonly name: string;
  readonly roles: readonly string[];
}

export interface StoredRole {
  readonly name: string;
  readonly permissions: readonly Permission[];
}

export interface Permission {
  readonly type: 'read' | 'write' | 'readwrite' | 'unknown';
  readonly key: Buffer;
  /** First key behind the range; empty for the one key, a single zero byte for all keys from `key` on. */
  readonly rangeEnd: Buffer;
}

const TYPES: Readonly<Record<number, Permission['type']>> = { 0: 'read', 1: 'write', 2: 'readwrite' };

/** Whether users have to log in. @throws WardenError `bolt-damaged` */
export async function isAuthEnabled(db: Bolt, signal?: AbortSignal): Promise<boolean> {
  const enabled = await (await db.bucket('auth', signal))?.get(Buffer.from('authEnabled'), signal);
  return enabled?.length === 1 && enabled[0] === 1;
}

/** @throws WardenError `not-etcd`, `bolt-damaged` */
export async function authOf(db: Bolt, signal?: AbortSignal): Promise<StoredAuth> {
  const revision = await (await db.bucket('auth', signal))?.get(Buffer.from('authRevision'), signal);
  if (revision !== undefined && revision.length !== 8) throw notEtcd(`authRevision has ${revision.length} bytes instead of 8`);
  return {
    enabled: await isAuthEnabled(db, signal),
    revision: revision?.readBigUInt64BE(0) ?? 0n,
    users: await all(await db.bucket('authUsers', signal), 'a user', parseUser, signal),
    roles: await all(await db.bucket('authRoles', signal), 'a role', parseRole, signal),
  };
}

async function all<T>(bucket: Bucket | undefined, what: string, parse: (cursor: Cursor) => T, signal?: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  if (bucket === undefined) return found;
  for await (const { value } of bucket.entries(signal)) found.push(parse({ bytes: value, at: 0, what }));
  return found;
}

function parseUser(cursor: Cursor): StoredUser {
  let name = '';
  const roles: string[] = [];
  forEachField(cursor, (field, tag) => {
    if (field !== 1 && field !== 3) return skipValue(cursor, tag);
    expectWire(cursor, tag, BYTES);
    const text = readBytes(cursor).toString();
    if (field === 1) name = text;
    else roles.push(text);
  });
  return { name, roles };
}

function parseRole(cursor: Cursor): StoredRole {
  let name = '';
  const permissions: Permission[] = [];
  forEachField(cursor, (field, tag) => {
    if (field > 2) return skipValue(cursor, tag);
    expectWire(cursor, tag, BYTES);
    const bytes = readBytes(cursor);
    if (field === 1) name = bytes.toString();
    else permissions.push(parsePermission({ bytes, at: 0, what: 'a permission' }));
  });
  return { name, permissions };
}

function parsePermission(cursor: Cursor): Permission {
  let type = 0;
  let key: Buffer = Buffer.alloc(0);
  let rangeEnd = key;
  forEachField(cursor, (field, tag) => {
    if (field > 3) return skipValue(cursor, tag);
    expectWire(cursor, tag, field === 1 ? VARINT : BYTES);
    if (field === 1) type = readUnsigned(cursor);
    else if (field === 2) key = Buffer.from(readBytes(cursor));
    else rangeEnd = Buffer.from(readBytes(cursor));
  });
  return { type: TYPES[type] ?? 'unknown', key, rangeEnd };
}

function forEachField(cursor: Cursor, take: (field: number, tag: number) => void): void {
  while (cursor.at < cursor.bytes.length) {
    const tag = readTag(cursor);
    take(tag >>> 3, tag);
  }
}
