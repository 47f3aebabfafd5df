/**
 * The manifest: what is known of a backup when it is taken, written once beside its data, last, and never changed. The field tables below
 * are the single source for reading, for the order of writing, and for the table in docs/formats.md.
 */
import { WardenError } from '../errors.ts';
import { timeOfId } from './ids.ts';
import { manifestKey } from './keys.ts';
import {
  compactDecimal,
  crc32,
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
  TEXT_LENGTH,
  time,
  type Fields,
} from './shape.ts';
import { MANIFEST_SCHEMA, type Manifest, type Proof } from './types.ts';

/** Readers fetch this much of a manifest and no more; a page of text holds a few kilobytes. */
export const MANIFEST_MAX_BYTES = 8192;

/** A newer schema may be longer: enough is read to recognise it. */
export const MANIFEST_READ_BYTES = 65_536;

const MAX_STORES = 16;
const MAX_WARNINGS = 16;
const MAX_MEMBERS = 16;

/** What was found in an object that has a manifest's name. */
export type DecodedManifest =
  | { readonly kind: 'manifest'; readonly manifest: Manifest }
  | { readonly kind: 'newer-schema'; readonly schema: number };

/** The same in a manifest and in a check. */
export const readProof = record<Proof>({
  revision: decimal,
  compactRevision: compactDecimal,
  hash: integer,
  members: list(text, MAX_MEMBERS),
  tookMs: optional(integer),
  bytes: optional(integer),
});

export const MANIFEST_FIELDS: Fields<Manifest> = {
  schema: integer,
  tool: text,
  id,
  cluster: name,
  time,
  label: optional(text),
  clusterId: hexId,
  clusterIdAtEnd: hexId,
  lineage,
  parent: optional(id),
  member: optional(
    record<NonNullable<Manifest['member']>>({ id: hexId, name: text, endpoint: text, role: oneOf('leader', 'follower', 'learner') }),
  ),
  etcdVersion: text,
  storageVersion: optional(text),
  raftTerm: decimal,
  revision: decimal,
  compactRevision: decimal,
  marks: list(record<Manifest['marks'][number]>({ time, revision: decimal }), 4),
  plain: record<Manifest['plain']>({ bytes: integer, sha256, databaseSha256: sha256 }),
  stored: record<Manifest['stored']>({
    bytes: integer,
    sha256,
    crc32,
    compression: oneOf('zstd-seekable'),
    encryption: oneOf('none', 'age'),
  }),
  keyCount: optional(integer),
  proof: optional(readProof),
  unproved: optional(record<NonNullable<Manifest['unproved']>>({ code: text, reason: text })),
  disagreement: optional(record<NonNullable<Manifest['disagreement']>>({ members: list(text, MAX_MEMBERS), reason: text })),
  timings: record<Manifest['timings']>({ streamMs: integer, totalMs: integer }),
  stores: list(name, MAX_STORES),
  warnings: list(record<Manifest['warnings'][number]>({ code: text, message: text }), MAX_WARNINGS),
  imported: optional(record<NonNullable<Manifest['imported']>>({ name: text, sha256, modified: time, members: integer })),
  suspect: optional(text),
  signature: optional(text),
};

const readManifest = record<Manifest>(MANIFEST_FIELDS);

/**
 * The bytes of a manifest. Texts that came from elsewhere (warnings, names of members) are made to fit rather than refused: a good backup must not be
 * lost to the wording of an error.
 * @throws WardenError `manifest-invalid` when a field is not what readers accept, `manifest-too-long` beyond {@link MANIFEST_MAX_BYTES}
 */
export function encodeManifest(manifest: Manifest): Buffer {
  const tidy = agreeing(readManifest(tidied(manifest), ''));
  let bytes = serialized(tidy);
  for (let kept = tidy.warnings.length - 1; bytes.length > MANIFEST_MAX_BYTES && kept >= 0; kept -= 1) {
    bytes = serialized({ ...tidy, warnings: firstOf(tidy.warnings, kept) });
  }
  if (bytes.length > MANIFEST_MAX_BYTES) {
    throw new WardenError(
      'manifest-too-long',
      `the manifest of ${manifest.id} would have ${bytes.length} bytes, at most ${MANIFEST_MAX_BYTES} are allowed`,
      {
        hint: 'shorten the label, or the names of members and endpoints',
      },
    );
  }
  return bytes;
}

/**
 * Reads a manifest. When `key` is given, the object's name must agree with what is inside: a manifest that was copied or renamed is refused.
 * @throws WardenError `manifest-invalid`, and nothing else whatever the bytes are
 */
export function decodeManifest(bytes: Uint8Array, key?: string): DecodedManifest {
  const value = parseJson(bytes);
  const schema = record<{ schema: number }>({ schema: integer })(value, '').schema;
  if (schema > MANIFEST_SCHEMA) return { kind: 'newer-schema', schema };
  if (schema < MANIFEST_SCHEMA) throw invalid('schema', `${MANIFEST_SCHEMA} or more`, schema);
  if (bytes.length > MANIFEST_MAX_BYTES) throw invalid('', `at most ${MANIFEST_MAX_BYTES} bytes`, bytes.length);
  const manifest = agreeing(readManifest(value, ''));
  const named = manifestKey(manifest.cluster, manifest.id, manifest.revision);
  if (key !== undefined && key !== named) throw invalid('', `the manifest of ${key}`, named);
  return { kind: 'manifest', manifest };
}

/** Bytes to plain JSON, as strict as UTF-8 and JSON allow. @throws WardenError `manifest-invalid` */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new WardenError('manifest-invalid', `${bytes.length} bytes that are not JSON`, { cause });
  }
}

/** Two-space JSON with a final newline: people read it in the hour of need. */
export function serialized(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** A text made fit for {@link text}: control characters become spaces, the end is cut. */
export function tidyText(value: string): string {
  const line = value.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  if (line.length <= TEXT_LENGTH) return line;
  // Never cut a surrogate pair in half: the rest would not be valid text.
  return `${line.slice(0, TEXT_LENGTH - 3).replace(/[\ud800-\udbff]$/, '')}...`;
}

/** The time is the one in the id: there is one order of backups, not two. */
function agreeing(manifest: Manifest): Manifest {
  if (Date.parse(manifest.time) !== timeOfId(manifest.id)) throw invalid('time', `the time in the id ${manifest.id}`, manifest.time);
  if (manifest.stores.length === 0) throw invalid('stores', 'at least one store', manifest.stores);
  return manifest;
}

function tidied(manifest: Manifest): Manifest {
  return {
    ...manifest,
    ...(manifest.label === undefined ? {} : { label: tidyText(manifest.label) }),
    ...(manifest.suspect === undefined ? {} : { suspect: tidyText(manifest.suspect) }),
    ...(manifest.member === undefined
      ? {}
      : { member: { ...manifest.member, name: tidyText(manifest.member.name), endpoint: tidyText(manifest.member.endpoint) } }),
    ...(manifest.unproved === undefined
      ? {}
      : { unproved: { code: tidyText(manifest.unproved.code), reason: tidyText(manifest.unproved.reason) } }),
    ...(manifest.proof === undefined ? {} : { proof: { ...manifest.proof, members: manifest.proof.members.map(tidyText) } }),
    ...(manifest.disagreement === undefined
      ? {}
      : {
          disagreement: { members: manifest.disagreement.members.map(tidyText), reason: tidyText(manifest.disagreement.reason) },
        }),
    ...(manifest.imported === undefined ? {} : { imported: { ...manifest.imported, name: tidyText(manifest.imported.name) } }),
    etcdVersion: tidyText(manifest.etcdVersion),
    ...(manifest.storageVersion === undefined ? {} : { storageVersion: tidyText(manifest.storageVersion) }),
    warnings: firstOf(
      manifest.warnings.map((each) => ({ code: tidyText(each.code), message: tidyText(each.message) })),
      MAX_WARNINGS - 1,
    ),
  };
}

function firstOf(warnings: Manifest['warnings'], count: number): Manifest['warnings'] {
  const left = warnings.length - count;
  if (left <= 0) return warnings;
  return [...warnings.slice(0, count), { code: 'more-warnings', message: `${left} more in the log of that run` }];
}
