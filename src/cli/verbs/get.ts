import { isUtf8 } from 'node:buffer';
import { formatBytes } from '../../config/units.ts';
import { WardenError } from '../../errors.ts';
import { displayKey, isHarmless } from '../../inspect/display/text.ts';
import { isSecret, showValue, type ShownValue } from '../../inspect/display/value.ts';
import { similarKeys } from '../../inspect/similar.ts';
import { changeAt, chooseRevision, liveAt } from '../../inspect/state.ts';
import type { KeyEntry, KeyRevision } from '../../inspect/types.ts';
import { inspect, keyArgument, keyJson, leaseJson, leaseText, snapshotJson, type Opened } from '../inspecting.ts';
import { revisionOption } from '../option-values.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options, context } = invocation;
  if (options['raw'] === true && invocation.json) throw new WardenError('usage', '--raw and --json exclude each other');
  const putting = puttingOf(invocation);
  return inspect(invocation, async (opened) => {
    const { directory, snapshot, held } = opened;
    const at = chooseRevision(revisionOption(invocation), held, snapshot.name);
    const key = keyArgument(invocation, invocation.arguments[1] ?? '');
    if (putting !== undefined)
      return (await import('./get-put.ts')).putKeys(invocation, { snapshot, directory, key, at, prefix: putting === 'prefix' });
    context.progress({ step: 'find', message: `looking for ${displayKey(key)}` });
    const entry = await directory.find(key, context.signal);
    const revision = entry === undefined ? undefined : liveAt(entry, at);
    if (entry === undefined || revision === undefined) throw await notThere(opened, key, entry, at, context.signal);
    const value = await directory.value(entry, revision, context.signal);
    if (options['raw'] === true) return raw(invocation, key, value);
    const shown = showValue(key, value, { showSecrets: options['showSecrets'] === true, full: options['full'] === true });
    return {
      json: {
        snapshot: snapshotJson(opened),
        atRevision: String(at),
        ...keyJson(key),
        createRevision: String(revision.createRevision),
        modRevision: String(revision.main),
        version: String(revision.version),
        lease: leaseJson(revision.lease),
        ...valueJson(value, shown),
      },
      text: [...headLines(opened, key, revision, value, shown), '', ...shown.lines].join('\n').trimEnd(),
    };
  });
}

/** Whether keys go back to the live cluster instead of being shown. @throws WardenError `usage` */
function puttingOf({ options }: Pick<Invocation, 'options'>): 'key' | 'prefix' | undefined {
  const putting = options['putPrefix'] === true ? 'prefix' : options['put'] === true ? 'key' : undefined;
  const misplaced = putting === undefined ? ONLY_WITH_PUT : ONLY_WITHOUT_PUT;
  const flag = Object.keys(misplaced).find((name) => options[name] === true);
  if (flag !== undefined)
    throw new WardenError(
      'usage',
      `${misplaced[flag]} ${putting === undefined ? 'goes only with --put or --put-prefix' : 'does not go with --put'}`,
    );
  return putting;
}

const ONLY_WITH_PUT: Readonly<Record<string, string>> = {
  dryRun: '--dry-run',
  yes: '--yes',
  withLease: '--with-lease',
  kubernetes: '--kubernetes',
  acceptCluster: '--accept-cluster',
};
const ONLY_WITHOUT_PUT: Readonly<Record<string, string>> = { raw: '--raw', full: '--full' };

/** The value in JSON: text where it is UTF-8, else base64; nothing of one that holds a secret. Shared with `diff` and `history`. */
export function valueJson(value: Buffer, shown: ShownValue): Record<string, unknown> {
  const text = isUtf8(value);
  return {
    valueBytes: value.length,
    value: shown.masked ? null : value.toString(text ? 'utf8' : 'base64'),
    valueEncoding: shown.masked ? 'masked' : text ? 'utf8' : 'base64',
    masked: shown.masked,
    content: shown.content,
    kubernetes: shown.kubernetes ?? null,
    encryptedBy: shown.sealedBy ?? null,
  };
}

/** The bytes and nothing else. */
async function raw({ output, options }: Invocation, key: Buffer, value: Buffer): Promise<Answer> {
  if (options['showSecrets'] !== true && isSecret(key, value))
    throw new WardenError('refused', `${displayKey(key)} holds a secret`, { hint: '--show-secrets writes it all the same' });
  if (output.terminal && !isHarmless(value))
    throw new WardenError('refused', 'the value would command the terminal', { hint: 'redirect it into a file, or leave out --raw' });
  await output.write(value);
  return { json: undefined, text: '', written: true };
}

function headLines({ snapshot, held }: Opened, key: Buffer, revision: KeyRevision, value: Buffer, shown: ShownValue): string[] {
  const lines: (readonly [string, string])[] = [
    ['key', displayKey(key)],
    ['revision', `${revision.main} (${snapshot.name} holds ${held.first} to ${held.last})`],
    ['created', String(revision.createRevision)],
    ['version', String(revision.version)],
    ['lease', leaseText(revision.lease)],
    ['size', formatBytes(value.length)],
    ['content', shown.masked ? `${shown.content}, masked` : shown.content],
  ];
  return lines.map(([name, text]) => `${name.padEnd(10)}${text}`);
}

/** What is known of a key that does not live at the revision. */
export async function notThere(
  { directory, snapshot, held, indexed }: Opened,
  key: Buffer,
  entry: KeyEntry | undefined,
  at: bigint,
  signal: AbortSignal,
): Promise<WardenError> {
  const name = displayKey(key);
  const change = entry === undefined ? undefined : changeAt(entry, at);
  if (change !== undefined) {
    const before = change.main - 1n;
    const lived = before >= held.first && liveAt(entry!, before) !== undefined;
    return new WardenError('nothing-found', `${name} was deleted at revision ${change.main}`, {
      hint: lived ? `what it held before: --revision ${before}` : 'an older backup may hold what it was: etcd-warden history ID KEY --all',
    });
  }
  const first = entry?.revisions.find((one) => !one.tombstone);
  if (first !== undefined)
    return new WardenError('nothing-found', `${name} did not exist at revision ${at} of ${snapshot.name}`, {
      hint: `it was created at revision ${first.createRevision}`,
    });
  // Without an index each question reads the whole file.
  const similar = indexed ? await similarKeys(directory, key, at, signal) : [];
  return new WardenError('nothing-found', `${snapshot.name} holds no key ${name}`, {
    hint:
      similar.length === 0
        ? 'etcd-warden keys lists what it holds; keys begin with a slash in Kubernetes: /registry/...'
        : `there is ${similar.map(displayKey).join(', ')}`,
  });
}
