/**
 * Buckets `members` and `members_removed`: key = id in lower-case hex, value = JSON of membership.Member, or `removed`. The JSON carries the id as a
 * number of 64 bits, which JSON.parse rounds (hazards H16).
 */
import type { Bolt } from '../boltdb/bolt.ts';
import { notEtcd } from './errors.ts';

export interface StoredMember {
  readonly id: bigint;
  /** Empty while the member has not started yet, as are its client URLs. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

export interface StoredMembership {
  readonly members: readonly StoredMember[];
  /** Ids that can never join again. */
  readonly removed: readonly bigint[];
}

/**
 * The members that the cluster had, in the order of the file.
 * @throws WardenError `not-etcd`, `bolt-damaged`
 */
export async function membersOf(db: Bolt, signal?: AbortSignal): Promise<StoredMembership> {
  const members: StoredMember[] = [];
  const removed: bigint[] = [];
  const present = await db.bucket('members', signal);
  if (present !== undefined)
    for await (const { key, value } of present.entries(signal)) members.push(parseMember(idOf(key), value.toString()));
  const gone = await db.bucket('members_removed', signal);
  if (gone !== undefined) for await (const { key } of gone.entries(signal)) removed.push(idOf(key));
  return { members, removed };
}

function parseMember(id: bigint, text: string): StoredMember {
  const broken = (why: string): Error => notEtcd(`member ${id.toString(16)} ${why}`);
  let fields: unknown;
  try {
    fields = JSON.parse(text, exactly);
  } catch {
    throw broken('is no JSON');
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) throw broken('is no object');
  const member = fields as Readonly<Record<string, unknown>>;

  function strings(name: string): readonly string[] {
    const list = member[name] ?? [];
    if (!Array.isArray(list) || !list.every((each) => typeof each === 'string')) throw broken(`has ${name} that are no list of strings`);
    return list;
  }

  if (member['id'] !== id)
    throw broken(`says that it is member ${typeof member['id'] === 'bigint' ? member['id'].toString(16) : 'without an id'}`);
  const { name = '', isLearner = false } = member;
  if (typeof name !== 'string') throw broken('has a name that is no string');
  if (typeof isLearner !== 'boolean') throw broken('does not say whether it is a learner');
  return { id, name, peerUrls: strings('peerURLs'), clientUrls: strings('clientURLs'), isLearner };
}

/** Integers as they are written, for JSON.parse, which has rounded `value` by then. */
function exactly(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' && /^\d+$/.test(context?.source ?? '') ? BigInt(context!.source!) : value;
}

function idOf(key: Buffer): bigint {
  const text = key.toString('latin1');
  if (!/^[0-9a-f]{1,16}$/.test(text)) throw notEtcd(`the id of a member, of ${key.length} bytes, is no number in hex`);
  return BigInt(`0x${text}`);
}
