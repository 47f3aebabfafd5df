/**
 * What must not come to a screen unasked: Secrets of Kubernetes, told by their key (whatever `--etcd-prefix` the API server has) and by their kind, and what
 * RKE2 and k3s keep below `/bootstrap/`. In doubt it is masked: one flag shows it.
 */
import { isRecord, parseKubernetes } from './kubernetes.ts';

/** `secrets` as the resource: first or second segment (`/registry/secrets/`), or anywhere with namespace and name behind it. */
const SECRET_KEY = /^\/*(?:[^/]+\/+)?secrets\/|(?:^|\/)secrets\/+[^/]+\/+[^/]|^\/*bootstrap\//u;

/**
 * A manifest in text: YAML with `kind: Secret` on a line of its own (in a list too) or between braces; JSON that cannot be parsed, names a field twice, or lies in
 * a string of another document, where its quotes are escaped.
 */
const SECRET_TEXT = new RegExp(
  [
    /^[ \t-]*["']?kind["']?[ \t]*:[ \t]*(?:!!str[ \t]+)?["']?Secret(?:List)?["']?[ \t]*(?:#.*)?\r?$/u,
    /[{,]\s*kind\s*:\s*["']?Secret(?:List)?["']?\s*[,}]/u,
    /["']kind\\*["']\s*:\s*\\*["']Secret(?:List)?\\*["']/u,
  ]
    .map(({ source }) => source)
    .join('|'),
  'mu',
);

/** Deeper than any manifest; what lies below is masked unseen, so that a hostile document cannot exhaust the stack. */
const MAX_DEPTH = 200;

/** Fields of a Secret that say nothing of its content. */
const OPEN_FIELDS: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'type', 'immutable']);
const OPEN_METADATA: ReadonlySet<string> = new Set([
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'labels',
]);

/** @param key as in etcd */
export function isSecretKey(key: Buffer): boolean {
  return SECRET_KEY.test(key.toString('latin1'));
}

/** Whether a value holds a Secret of Kubernetes, whatever its key: as protobuf, as JSON (also inside of lists and other objects), as YAML. */
export function holdsSecret(value: Buffer, json: unknown): boolean {
  const kubernetes = parseKubernetes(value);
  if (kubernetes !== undefined) return isSecretKind(kubernetes.object.kind);
  if (json !== undefined && containsSecret(json, 0)) return true;
  return SECRET_TEXT.test(value.toString('latin1'));
}

/** The same document with what a Secret holds replaced by its length; everything else as it was. */
export function maskJson(value: unknown, depth = 0): unknown {
  if (depth > MAX_DEPTH) return '(masked: too deep)';
  if (Array.isArray(value)) return value.map((item: unknown) => maskJson(item, depth + 1));
  if (isSecretText(value)) return `(masked, ${Buffer.byteLength(value)} bytes)`;
  if (!isRecord(value)) return value;
  if (value['kind'] === 'Secret') return maskSecret(value);
  // The items of a list carry no kind of their own.
  const list = value['kind'] === 'SecretList' && Array.isArray(value['items']);
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      list && name === 'items'
        ? (item as unknown[]).map((one) => (isRecord(one) ? maskSecret(one) : '(masked)'))
        : maskJson(item, depth + 1),
    ]),
  );
}

function containsSecret(value: unknown, depth: number): boolean {
  if (depth > MAX_DEPTH) return true;
  if (Array.isArray(value)) return value.some((item: unknown) => containsSecret(item, depth + 1));
  if (isSecretText(value)) return true;
  if (!isRecord(value)) return false;
  if (typeof value['kind'] === 'string' && isSecretKind(value['kind'])) return true;
  return Object.values(value).some((item) => containsSecret(item, depth + 1));
}

/** A manifest inside of a string, as annotations and Helm values hold it. */
function isSecretText(value: unknown): value is string {
  return typeof value === 'string' && SECRET_TEXT.test(value);
}

function isSecretKind(kind: string): boolean {
  return kind === 'Secret' || kind === 'SecretList';
}

function maskSecret(secret: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(secret).map(([name, value]) => {
      if (OPEN_FIELDS.has(name) && !isNested(value)) return [name, value];
      if (name === 'metadata' && isRecord(value)) return [name, maskMetadata(value)];
      if ((name === 'data' || name === 'stringData') && isRecord(value)) return [name, maskEach(value, name === 'data')];
      return [name, '(masked)'];
    }),
  );
}

/** Annotations too: `kubectl apply` keeps a copy of the whole Secret in one of them. */
function maskMetadata(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(metadata).map(([name, value]) => {
      if (OPEN_METADATA.has(name)) return [name, value];
      return [name, name === 'annotations' && isRecord(value) ? maskEach(value, false) : '(masked)'];
    }),
  );
}

function maskEach(values: Readonly<Record<string, unknown>>, base64: boolean): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      if (typeof value !== 'string') return [name, '(masked)'];
      return [name, `(masked, ${base64 ? Buffer.from(value, 'base64').length : Buffer.byteLength(value)} bytes)`];
    }),
  );
}

function isNested(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}
