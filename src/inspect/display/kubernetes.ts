/**
 * What the Kubernetes API server stores: protobuf behind the prefix `k8s\0` (runtime.Unknown, apimachinery/pkg/runtime/generated.proto), JSON for custom
 * resources, and ciphertext behind `k8s:enc:` where encryption at rest is on (apiserver/pkg/storage/value).
 */
import { type Cursor, readBytes, readTag, skipValue } from '../../mvcc/protobuf.ts';

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

const PROTOBUF = Buffer.from('k8s\0');
const SEALED = Buffer.from('k8s:enc:');

/** More than an object has; bounds what a hostile value costs. */
const MAX_ENTRIES = 10_000;

export function isKubernetesProtobuf(value: Buffer): boolean {
  return value.length > PROTOBUF.length && value.subarray(0, PROTOBUF.length).equals(PROTOBUF);
}

/** Undefined when it is not what the API server writes. */
export function parseKubernetes(value: Buffer): { readonly object: KubernetesObject; readonly raw: Buffer } | undefined {
  if (!isKubernetesProtobuf(value)) return undefined;
  // Unknown { 1 typeMeta { 1 apiVersion, 2 kind }, 2 raw, 3 contentEncoding, 4 contentType }
  const unknown = fieldsOf(value.subarray(PROTOBUF.length));
  const typeMeta = unknown === undefined ? undefined : fieldsOf(last(unknown, 1));
  if (unknown === undefined || typeMeta === undefined) return undefined;
  const raw = last(unknown, 2);
  // Every stored kind has its ObjectMeta { 1 name, 2 generateName, 3 namespace } in field 1.
  const object = fieldsOf(raw);
  const meta = object === undefined ? undefined : fieldsOf(last(object, 1));
  const [apiVersion, kind] = [textOf(typeMeta, 1), textOf(typeMeta, 2)];
  if (apiVersion === '' && kind === '') return undefined;
  return {
    object: { apiVersion, kind, namespace: meta === undefined ? '' : textOf(meta, 3), name: meta === undefined ? '' : textOf(meta, 1) },
    raw,
  };
}

/** Names and lengths of a Secret's values: core/v1 Secret { 1 metadata, 2 data map<string, bytes>, 3 type, 4 stringData }. Undefined when it cannot be read. */
export function secretEntries(raw: Buffer): readonly { readonly name: string; readonly bytes: number }[] | undefined {
  const secret = fieldsOf(raw);
  if (secret === undefined) return undefined;
  const entries: { name: string; bytes: number }[] = [];
  for (const item of [...(secret.get(2) ?? []), ...(secret.get(4) ?? [])]) {
    const entry = fieldsOf(item);
    if (entry === undefined) return undefined;
    entries.push({ name: textOf(entry, 1), bytes: last(entry, 2).length });
  }
  return entries;
}

/** How the API server has encrypted a value, such as `aescbc:v1:key1`; undefined when it has not. */
export function sealedBy(value: Buffer): string | undefined {
  if (value.length <= SEALED.length || !value.subarray(0, SEALED.length).equals(SEALED)) return undefined;
  // `k8s:enc:<provider>:<version>:<key or plugin>:`, then ciphertext
  const head = value.toString('latin1', SEALED.length, SEALED.length + 256);
  return /^[\w.-]+:v\d+:[\w.-]+(?=:)/u.exec(head)?.[0] ?? /^[\w.-]+(?=:)/u.exec(head)?.[0] ?? 'unknown';
}

/** From the fields that every object has in JSON. */
export function kubernetesInJson(value: unknown): KubernetesObject | undefined {
  if (!isRecord(value)) return undefined;
  const { apiVersion, kind, metadata } = value;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return undefined;
  const meta = isRecord(metadata) ? metadata : {};
  return { apiVersion, kind, namespace: stringOr(meta['namespace']), name: stringOr(meta['name']) };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function stringOr(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

const EMPTY = Buffer.alloc(0);

type Fields = ReadonlyMap<number, readonly Buffer[]>;

/** Length-delimited fields of a message by number; undefined when it is none. */
function fieldsOf(bytes: Buffer): Fields | undefined {
  const fields = new Map<number, Buffer[]>();
  const cursor: Cursor = { bytes, at: 0, what: 'a message' };
  try {
    for (let count = 0; cursor.at < bytes.length; count += 1) {
      if (count > MAX_ENTRIES) return undefined;
      const tag = readTag(cursor);
      if ((tag & 7) !== 2) {
        skipValue(cursor, tag);
        continue;
      }
      const known = fields.get(tag >>> 3);
      const content = readBytes(cursor);
      if (known === undefined) fields.set(tag >>> 3, [content]);
      else known.push(content);
    }
    return fields;
  } catch {
    return undefined; // not protobuf: shown as bytes then
  }
}

function textOf(fields: Fields, number: number): string {
  return last(fields, number).toString();
}

/** As every decoder of protobuf: of a field that stands there twice the last one counts. */
function last(fields: Fields, number: number): Buffer {
  return fields.get(number)?.at(-1) ?? EMPTY;
}
