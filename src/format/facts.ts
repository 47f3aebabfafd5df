/**
 * Later facts: checks of a backup and facts about generations. Each is a small object of its own that is written once; the newest of its kind counts.
 */
import { WardenError } from '../errors.ts';
import { ACCEPTANCE_KINDS, CHECK_KINDS, parseKey } from './keys.ts';
import { parseJson, readProof, serialized, tidyText } from './manifest.ts';
import { readEmbeddedRecord } from './restore-record.ts';
import {
  decimal,
  hexId,
  id,
  integer,
  invalid,
  lineage,
  name,
  oneOf,
  optional,
  record,
  text,
  time,
  type Fields,
  type Reader,
} from './shape.ts';
import type { Acceptance, Check, DrillFigures } from './types.ts';

/** Schema of checks and acceptances that this version writes. */
export const FACT_SCHEMA = 1;

/** Far above what any check needs. */
export const FACT_MAX_BYTES = 4096;

/** An acceptance may carry the record of a restore, which has at most 8 KiB. */
export const ACCEPTANCE_MAX_BYTES = 12_288;

export const DRILL_FIELDS: Fields<DrillFigures> = {
  level: oneOf('started', 'offline'),
  recoveryMs: optional(integer),
  revision: optional(decimal),
  keyCount: optional(integer),
  sampled: optional(integer),
  etcd: optional(text),
};

export const CHECK_FIELDS: Fields<Check> = {
  schema: integer,
  kind: oneOf(...CHECK_KINDS),
  id,
  time,
  tool: text,
  store: optional(name),
  level: optional(oneOf('stored', 'content', 'proved')),
  outcome: optional(oneOf('ok', 'failed', 'inconclusive')),
  proof: optional(readProof),
  drill: optional(record<DrillFigures>(DRILL_FIELDS)),
  reason: optional(text),
};

export const ACCEPTANCE_FIELDS: Fields<Acceptance> = {
  schema: integer,
  kind: oneOf(...ACCEPTANCE_KINDS),
  time,
  tool: text,
  lineage,
  clusterId: hexId,
  reason: optional(text),
  restore: optional(readEmbeddedRecord as Reader<NonNullable<Acceptance['restore']>>),
};

const readCheck = record<Check>(CHECK_FIELDS);
const readAcceptance = record<Acceptance>(ACCEPTANCE_FIELDS);

/** @throws WardenError `manifest-invalid` when readers would not accept it */
export function encodeCheck(check: Check): Buffer {
  return serialized(complete(readCheck(tidied(check), '')));
}

/** @throws WardenError `manifest-invalid` when readers would not accept it */
export function encodeAcceptance(acceptance: Acceptance): Buffer {
  return serialized(agreeing(readAcceptance(tidied(acceptance), '')));
}

/**
 * Reads a check found under `key`; kind, id and time in the name must be those inside.
 * @throws WardenError `manifest-invalid`, and nothing else whatever the bytes are
 */
export function decodeCheck(bytes: Uint8Array, key: string): Check {
  const check = complete(decode(readCheck, bytes, FACT_MAX_BYTES));
  const parsed = parseKey(key);
  if (parsed?.type !== 'check' || parsed.id !== check.id || parsed.kind !== check.kind || parsed.timeMs !== Date.parse(check.time)) {
    throw misplaced(key, `a ${check.kind} of ${check.id} at ${check.time}`);
  }
  return check;
}

/**
 * Reads an acceptance found under `key`; kind and time in the name must be those inside.
 * @throws WardenError `manifest-invalid`, and nothing else whatever the bytes are
 */
export function decodeAcceptance(bytes: Uint8Array, key: string): Acceptance {
  const acceptance = agreeing(decode(readAcceptance, bytes, ACCEPTANCE_MAX_BYTES));
  const parsed = parseKey(key);
  if (parsed?.type !== 'acceptance' || parsed.kind !== acceptance.kind || parsed.timeMs !== Date.parse(acceptance.time)) {
    throw misplaced(key, `${acceptance.kind} at ${acceptance.time}`);
  }
  return acceptance;
}

function decode<T extends { readonly schema: number }>(reader: Reader<T>, bytes: Uint8Array, maxBytes: number): T {
  if (bytes.length > maxBytes) throw invalid('', `at most ${maxBytes} bytes`, bytes.length);
  const value = parseJson(bytes);
  const schema = record<{ schema: number }>({ schema: integer })(value, '').schema;
  // Unlike a manifest's, a newer one is just unreadable: the catalog then assumes the worst of what its name says.
  if (schema !== FACT_SCHEMA) throw invalid('schema', String(FACT_SCHEMA), schema);
  return reader(value, '');
}

/** What was verified must say where, how deep and with what result. */
function complete(check: Check): Check {
  if (check.kind === 'verify') {
    if (check.store === undefined) throw invalid('store', 'the store that was read', check.store);
    if (check.level === undefined) throw invalid('level', 'how deep it was read', check.level);
  }
  if (check.kind === 'drill' && check.store === undefined) throw invalid('store', 'the store that was read', check.store);
  if ((check.kind === 'verify' || check.kind === 'drill') && check.outcome === undefined)
    throw invalid('outcome', 'what came out', check.outcome);
  return check;
}

/** Only a restore has a record, and it announces the cluster of that record and no other. */
function agreeing(acceptance: Acceptance): Acceptance {
  const { kind, clusterId, restore } = acceptance;
  if (restore === undefined) {
    // Passed over because its schema is newer: nothing of it is left.
    const { restore: _, ...without } = acceptance;
    return without;
  }
  if (kind !== 'restore') throw invalid('restore', `nothing in an acceptance of kind ${kind}`, restore);
  if (restore.clusterId !== clusterId)
    throw invalid('restore.clusterId', `the cluster id ${clusterId} of the acceptance`, restore.clusterId);
  return acceptance;
}

function tidied<T extends { readonly reason?: string }>(fact: T): T {
  return fact.reason === undefined ? fact : { ...fact, reason: tidyText(fact.reason) };
}

function misplaced(key: string, inside: string): WardenError {
  return new WardenError('manifest-invalid', `${key} holds ${inside}: it was copied or renamed`);
}
