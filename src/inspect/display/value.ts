/** A value as it may be shown: what it is, and its lines. */
import { isDeepStrictEqual } from 'node:util';
import { formatBytes } from '../../config/units.ts';
import { hexLines } from './hex.ts';
import { indentJson, parseJson } from './json.ts';
import { isKubernetesProtobuf, kubernetesInJson, type KubernetesObject, parseKubernetes, sealedBy, secretEntries } from './kubernetes.ts';
import { holdsSecret, isSecretKey, maskJson } from './secrets.ts';
import { isText, safeLine, safeLines } from './text.ts';

/** `sealed`: encrypted by the Kubernetes API server; `binary`: anything that is no text. */
export type ContentKind = 'empty' | 'text' | 'json' | 'kubernetes' | 'sealed' | 'binary';

export interface ShownValue {
  readonly content: ContentKind;
  /** Of protobuf and JSON alike. Its texts are as they are stored: show them through `safeLine`. */
  readonly kubernetes: KubernetesObject | undefined;
  /** Provider, version and key of the encryption at rest, e.g. `aescbc:v1:key1`. */
  readonly sealedBy: string | undefined;
  /** Something of it was left out because it is secret. */
  readonly masked: boolean;
  /** For a terminal: no control characters, no newline inside. */
  readonly lines: readonly string[];
}

export interface ShowOptions {
  readonly showSecrets?: boolean | undefined;
  /** All of a binary value instead of its beginning. */
  readonly full?: boolean | undefined;
}

const SHOW_HINT = '--show-secrets shows it';

/** Whether any part of a value is masked unless secrets are asked for. */
export function isSecret(key: Buffer, value: Buffer): boolean {
  return isSecretKey(key) || holdsSecret(value, jsonOf(value));
}

export function showValue(key: Buffer, value: Buffer, options: ShowOptions = {}): ShownValue {
  const shown = { kubernetes: undefined, sealedBy: undefined, masked: false };
  if (value.length === 0) return { ...shown, content: 'empty', lines: [] };
  const json = jsonOf(value);
  const secret = options.showSecrets !== true && (isSecretKey(key) || holdsSecret(value, json));
  const hex = (bytes: Buffer): string[] => (options.full === true ? hexLines(bytes, bytes.length) : hexLines(bytes));

  const sealed = sealedBy(value);
  if (sealed !== undefined) {
    const head = `encrypted at rest by Kubernetes (${safeLine(sealed)}), ${formatBytes(value.length)}`;
    return { ...shown, content: 'sealed', sealedBy: sealed, masked: secret, lines: secret ? [head, SHOW_HINT] : [head, ...hex(value)] };
  }
  if (isKubernetesProtobuf(value)) {
    const parsed = parseKubernetes(value);
    const head = parsed === undefined ? 'Kubernetes protobuf that cannot be read' : `${describeObject(parsed.object)}, protobuf`;
    const lines = secret ? maskedProtobuf(value, parsed?.object.kind === 'Secret' ? parsed.raw : undefined) : hex(value);
    return {
      ...shown,
      content: 'kubernetes',
      kubernetes: parsed?.object,
      masked: secret,
      lines: [`${head}, ${formatBytes(value.length)}`, ...lines],
    };
  }
  if (json !== undefined) {
    const kubernetes = kubernetesInJson(json);
    const masked = secret ? maskJson(json) : json;
    // Below a secret key without being a Secret, or a field named twice: nobody knows which part of it is the secret.
    if (secret && isDeepStrictEqual(masked, json))
      return { ...shown, content: 'json', kubernetes, masked: true, lines: [maskedWhole(value)] };
    const text = secret ? JSON.stringify(masked, null, 2) : (indentJson(value.toString()) ?? value.toString());
    return { ...shown, content: 'json', kubernetes, masked: secret, lines: safeLines(text) };
  }
  const content = isText(value) ? 'text' : 'binary';
  if (secret) return { ...shown, content, masked: true, lines: [maskedWhole(value)] };
  return {
    ...shown,
    content,
    lines: content === 'text' ? safeLines(value.toString()) : [`binary, ${formatBytes(value.length)}`, ...hex(value)],
  };
}

/** One line of at most `length` characters that says what a value is. */
export function previewValue(key: Buffer, value: Buffer, options: ShowOptions & { readonly length?: number } = {}): string {
  const shown = showValue(key, value, options);
  const text = previewOf(shown, value);
  const length = options.length ?? 60;
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, length - 3).join('')}...` : text;
}

/** `v1 ConfigMap default/settings` */
export function describeObject({ apiVersion, kind, namespace, name }: KubernetesObject): string {
  const place = namespace === '' ? name : `${namespace}/${name}`;
  return safeLine([apiVersion, kind, place].filter((part) => part !== '').join(' '));
}

function previewOf(shown: ShownValue, value: Buffer): string {
  const mask = shown.masked ? ' (masked)' : '';
  if (shown.kubernetes !== undefined) return `${describeObject(shown.kubernetes)}${mask}`;
  if (shown.masked) return `(masked, ${formatBytes(value.length)})`;
  if (shown.content === 'text') return shown.lines.join(' ');
  if (shown.content === 'json') return shown.lines.map((line) => line.trim()).join(' ');
  return shown.content === 'empty' ? 'empty' : shown.lines[0]!;
}

/** Names and lengths of a Secret's values, where it can be read. */
function maskedProtobuf(value: Buffer, raw: Buffer | undefined): string[] {
  const entries = raw === undefined ? undefined : secretEntries(raw);
  if (entries === undefined || entries.length === 0) return [maskedWhole(value)];
  return [...entries.map(({ name, bytes }) => `${safeLine(name)}: (masked, ${bytes} byte${bytes === 1 ? '' : 's'})`), SHOW_HINT];
}

function maskedWhole(value: Buffer): string {
  return `(masked, ${formatBytes(value.length)}; ${SHOW_HINT})`;
}

function jsonOf(value: Buffer): unknown {
  return isText(value) ? parseJson(value.toString()) : undefined;
}
