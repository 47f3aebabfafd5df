/**
 * What a restore made, so that it can be checked and accepted afterwards: as `NAME.restore.json` beside the data directory, and in the acceptance of kind
 * `restore` in the store. Revision, compact revision and HashKV are computed from the database that was built. No key names.
 */
import { WardenError } from '../errors.ts';
import { parseJson, serialized } from './manifest.ts';
import {
  compactDecimal,
  decimal,
  hexId,
  id,
  integer,
  invalid,
  lineage,
  list,
  name,
  oneOf,
  optional,
  record,
  sha256,
  text,
  time,
  type Fields,
  type Reader,
} from './shape.ts';
import type { RestoreRecord } from './types.ts';

export type { RestoreRecord } from './types.ts';

export const RESTORE_RECORD_SCHEMA = 1;

/** Readers take no longer one; five members with several peer URLs each need a quarter of it. */
export const RESTORE_RECORD_MAX_BYTES = 8192;

/** Above what etcd recommends (7) and what it takes without complaint. */
const MAX_MEMBERS = 16;
const MAX_PEER_URLS = 16;

export const RESTORE_RECORD_FIELDS: Fields<RestoreRecord> = {
  schema: integer,
  tool: text,
  time,
  source: record<RestoreRecord['source']>({
    backup: optional(id),
    cluster: optional(name),
    lineage: optional(lineage),
    databaseSha256: sha256,
  }),
  attempt: integer,
  token: text,
  clusterId: hexId,
  members: list(record<RestoreRecord['members'][number]>({ id: hexId, name: text, peerUrls: list(text, MAX_PEER_URLS) }), MAX_MEMBERS),
  revision: decimal,
  compactRevision: compactDecimal,
  hash: integer,
  keyCount: integer,
  raisedFrom: optional(decimal),
  filtered: optional(yes),
  builder: oneOf('native', 'etcdutl'),
  etcd: text,
};

const readFields = record<RestoreRecord>(RESTORE_RECORD_FIELDS);

/** The record that stands in an acceptance: one of a newer schema is passed over there, and the acceptance counts all the same. */
export const readEmbeddedRecord: Reader<RestoreRecord | undefined> = (value, path) => {
  const schema = record<{ schema: number }>({ schema: integer })(value, path).schema;
  return schema > RESTORE_RECORD_SCHEMA ? undefined : agreeing(readFields(value, path), path);
};

/**
 * The bytes of a record as it lies beside a data directory.
 * @throws WardenError `manifest-invalid` when readers would not accept it, `manifest-too-long` beyond {@link RESTORE_RECORD_MAX_BYTES}
 */
export function encodeRestoreRecord(restore: RestoreRecord): Buffer {
  const bytes = serialized(agreeing(readFields(restore, ''), ''));
  if (bytes.length > RESTORE_RECORD_MAX_BYTES)
    throw new WardenError(
      'manifest-too-long',
      `the record of this restore would have ${bytes.length} bytes, at most ${RESTORE_RECORD_MAX_BYTES} are allowed`,
      { hint: 'shorten the token, or the names and peer URLs of members' },
    );
  return bytes;
}

/**
 * @throws WardenError `newer-schema` for a record of a newer etcd-warden, `manifest-invalid` for everything else that is none, and nothing else whatever the
 * bytes are
 */
export function decodeRestoreRecord(bytes: Uint8Array): RestoreRecord {
  if (bytes.length > 8 * RESTORE_RECORD_MAX_BYTES) throw invalid('', `at most ${RESTORE_RECORD_MAX_BYTES} bytes`, bytes.length);
  const restore = readEmbeddedRecord(parseJson(bytes), '');
  if (restore === undefined)
    throw new WardenError('newer-schema', `a restore record of a newer schema than ${RESTORE_RECORD_SCHEMA}`, {
      hint: 'check the cluster with the version of etcd-warden that restored it',
    });
  if (bytes.length > RESTORE_RECORD_MAX_BYTES) throw invalid('', `at most ${RESTORE_RECORD_MAX_BYTES} bytes`, bytes.length);
  return restore;
}

/** What a reader may rely on beyond the single fields. */
function agreeing(restore: RestoreRecord, path: string): RestoreRecord {
  const at = (field: string): string => (path === '' ? field : `${path}.${field}`);
  const { schema, members, revision, compactRevision, hash, source } = restore;
  if (schema < RESTORE_RECORD_SCHEMA) throw invalid(at('schema'), String(RESTORE_RECORD_SCHEMA), schema);
  if (members.length === 0) throw invalid(at('members'), 'at least one member', members);
  const repeated = ['id', 'name'].find((field) => new Set(members.map((each) => each[field as 'id' | 'name'])).size < members.length);
  if (repeated !== undefined) throw invalid(at('members'), `each ${repeated} once`, members);
  const bare = members.findIndex(({ peerUrls }) => peerUrls.length === 0);
  if (bare >= 0) throw invalid(at(`members[${bare}].peerUrls`), 'at least one peer URL', []);
  if (BigInt(compactRevision) > BigInt(revision)) throw invalid(at('compactRevision'), `at most the revision ${revision}`, compactRevision);
  if (hash > 0xffff_ffff) throw invalid(at('hash'), 'a HashKV of 32 bits', hash);
  if ((source.backup === undefined) !== (source.cluster === undefined) || (source.backup === undefined) !== (source.lineage === undefined))
    throw invalid(at('source'), 'backup, cluster and lineage, or none of them', source);
  return restore;
}

function yes(value: unknown, path: string): true {
  if (value !== true) throw invalid(path, 'true, or not there', value);
  return true;
}
