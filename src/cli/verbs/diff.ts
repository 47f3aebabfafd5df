import { accessOf } from '../../etcd/access.ts';
import { hex } from '../../etcd/ids.ts';
import { ownKeys } from '../../etcd/own-keys.ts';
import { LiveRange } from '../../etcd/live-range.ts';
import { formatBytes } from '../../config/units.ts';
import { WardenError } from '../../errors.ts';
import {
  differences,
  noDifferences,
  snapshotSide,
  type Difference,
  type DiffCounts,
  type DiffSide,
  type SideKey,
} from '../../inspect/diff.ts';
import { displayKey } from '../../inspect/display/text.ts';
import { showValue, type ShownValue } from '../../inspect/display/value.ts';
import { prefixRange } from '../../inspect/range.ts';
import type { KeyRange, OpenedSnapshot } from '../../inspect/types.ts';
import { unifiedLines } from '../../inspect/unified.ts';
import { clusterOf } from '../../jobs/stores.ts';
import { keyArgument, keyJson, leaseJson, snapshotJson, withSnapshot, withSources, type Sources } from '../inspecting.ts';
import { streamJson } from '../output/stream.ts';
import { chosenCluster, clusterSettings } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';
import { valueJson } from './get.ts';

/** The running cluster as one of the two. */
const LIVE = 'live';

/** One side, opened. */
interface OpenedSide {
  readonly side: DiffSide;
  readonly name: string;
  readonly revision: bigint;
  /** Undefined for the cluster. */
  readonly snapshot: OpenedSnapshot | undefined;
  /** Hex; undefined for a plain file. */
  readonly clusterId: string | undefined;
  readonly json: Record<string, unknown>;
}

export async function run(invocation: Invocation): Promise<Answer> {
  const [one = '', other = '', prefixText = ''] = invocation.arguments;
  if (one === LIVE && other === LIVE)
    throw new WardenError('usage', 'the cluster cannot be compared with itself', { hint: 'etcd-warden diff latest live' });
  const range = prefixRange(keyArgument(invocation, prefixText));
  const references = [one, other].filter((reference) => reference !== LIVE);
  return withSources(invocation, references, (sources) =>
    withSide(invocation, sources, one, range, (before) =>
      withSide(invocation, sources, other, range, (after) =>
        compare(invocation, before, after, { range, own: ownOf(invocation, sources, range) }),
      ),
    ),
  );
}

async function withSide<Result>(
  invocation: Invocation,
  sources: Sources,
  reference: string,
  range: KeyRange,
  work: (side: OpenedSide) => Promise<Result>,
): Promise<Result> {
  if (reference !== LIVE) {
    return withSnapshot(invocation, sources, reference, (opened) =>
      work({
        side: snapshotSide(opened.directory, opened.held.last),
        name: opened.snapshot.name,
        revision: opened.held.last,
        snapshot: opened.snapshot,
        clusterId: opened.snapshot.backup?.manifest.clusterId,
        json: snapshotJson(opened),
      }),
    );
  }
  const { loaded, context } = invocation;
  const settings = sources.cluster === undefined ? undefined : clusterSettings(loaded, sources.cluster);
  const live = new LiveRange(accessOf(settings ?? clusterOf(context.config, chosenCluster(loaded))));
  try {
    context.progress({ step: 'read', message: 'asking the cluster' });
    const { clusterId, revision } = await live.pin(range, context.signal);
    const json = { name: LIVE, store: null, time: null, firstRevision: null, revision: String(revision), indexed: null };
    return await work({ side: liveSide(live), name: LIVE, revision, snapshot: undefined, clusterId: hex(clusterId), json });
  } finally {
    live.close();
  }
}

function liveSide(live: LiveRange): DiffSide {
  return {
    async *keys(range, signal) {
      for await (const key of live.keys(range, signal)) {
        yield {
          ...key,
          valueBytes: undefined,
          async value(own) {
            const value = await live.value(key.key, own);
            if (value !== undefined) return value;
            throw new WardenError('etcd-failed', `the cluster listed ${displayKey(key.key)} and does not hold it at the same revision`);
          },
        };
      }
    },
  };
}

/** Which keys are our own, whose differences nobody asked for; undefined when they are asked for by their prefix. */
function ownOf({ loaded, context }: Invocation, sources: Sources, { from }: KeyRange): ((key: Buffer) => boolean) | undefined {
  const settings = sources.cluster === undefined ? undefined : clusterSettings(loaded, sources.cluster);
  // Two files tell nothing of their cluster.
  const prefixes = (settings === undefined ? Object.values(context.config.clusters) : [settings]).map(({ keyPrefix }) => keyPrefix);
  if (prefixes.some((prefix) => from?.subarray(0, prefix.length).equals(Buffer.from(prefix)) === true)) return undefined;
  const own = prefixes.map((prefix) => ownKeys(prefix));
  return (key) => own.some((isOwn) => isOwn(key));
}

/**
 * Whether equal mod revisions mean equal values: two backups of one lineage, or a backup and the cluster that it is of while that has not fallen behind it (a
 * restore that goes back keeps no revision that the backup could know better).
 */
function sameHistory(before: OpenedSide, after: OpenedSide): boolean {
  const [a, b] = [before.snapshot?.backup?.manifest, after.snapshot?.backup?.manifest];
  if (a !== undefined && b !== undefined) return a.lineage === b.lineage;
  if (before.clusterId === undefined || before.clusterId !== after.clusterId) return false;
  const [backup, live] = before.snapshot === undefined ? [after, before] : [before, after];
  return live.revision >= backup.revision;
}

async function compare(
  invocation: Invocation,
  before: OpenedSide,
  after: OpenedSide,
  { range, own }: { readonly range: KeyRange; readonly own: ((key: Buffer) => boolean) | undefined },
): Promise<Answer> {
  const { output, context, options, json } = invocation;
  const counts = noDifferences();
  const found = differences(before.side, after.side, {
    range,
    own,
    sameHistory: sameHistory(before, after),
    signal: context.signal,
    counts,
  });
  const exitCode = (): number => (options['exitCode'] === true && counts.added + counts.removed + counts.changed > 0 ? 1 : 0);
  const head = {
    before: before.json,
    after: after.json,
    prefix: range.from === undefined ? null : keyJson(range.from),
  };
  if (json) {
    const failed = await streamJson(output, head, 'changes', async (add) => {
      for await (const difference of found) await add(await differenceJson(invocation, difference));
      return { counts };
    });
    return { exitCode: failed === 0 ? exitCode() : failed, json: undefined, text: '', written: true };
  }
  await output.write(`${sideLine('-', before)}\n${sideLine('+', after)}\n`);
  let seen = 0;
  for await (const difference of found) {
    seen += 1;
    context.progress({ step: 'diff', message: `${seen} difference${seen === 1 ? '' : 's'} so far` });
    const lines = options['values'] === true ? await valueLines(invocation, difference) : [differenceLine(difference)];
    await output.write(`${lines.join('\n')}\n`);
  }
  await output.write(`${countsText(counts)}\n`);
  return { exitCode: exitCode(), json: undefined, text: '', written: true };
}

function sideLine(mark: string, { name, revision }: OpenedSide): string {
  return `${mark} ${displayKey(Buffer.from(name))} at revision ${revision}`;
}

const MARKS = { added: '+', removed: '-', changed: '~' } as const;

function differenceLine({ kind, key, before, after }: Difference): string {
  const sizes = [before, after].flatMap((side) => (side === undefined ? [] : [sideText(side)]));
  return `${MARKS[kind]} ${displayKey(key)}  ${sizes.join(' -> ')}`;
}

function sideText({ modRevision, valueBytes }: SideKey): string {
  return `${valueBytes === undefined ? '' : `${formatBytes(valueBytes)} `}@${modRevision}`;
}

/** The difference with both values as unified text: the parts that are shown are compared, so what is masked stays out. */
async function valueLines(invocation: Invocation, difference: Difference): Promise<string[]> {
  const old = await shownOf(invocation, difference.key, difference.before);
  const next = await shownOf(invocation, difference.key, difference.after);
  const lines = unifiedLines(old?.shown.lines ?? [], next?.shown.lines ?? []);
  const hidden = difference.kind === 'changed' && lines.length === 0 && (old?.shown.masked === true || !sameLines(old?.value, next?.value));
  return [differenceLine(difference), ...lines, ...(hidden ? ['(differs where it is not shown)'] : [])];
}

function sameLines(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a !== undefined && b !== undefined && a.equals(b);
}

interface ShownSide {
  readonly value: Buffer;
  readonly shown: ShownValue;
}

async function shownOf({ options, context }: Invocation, key: Buffer, side: SideKey | undefined): Promise<ShownSide | undefined> {
  if (side === undefined) return undefined;
  // A copy: the other side may read through the same cache.
  const value = Buffer.from(await side.value(context.signal));
  return { value, shown: showValue(key, value, { showSecrets: options['showSecrets'] === true, full: options['full'] === true }) };
}

async function differenceJson(invocation: Invocation, { kind, key, before, after }: Difference): Promise<Record<string, unknown>> {
  return { ...keyJson(key), change: kind, before: await sideJson(invocation, key, before), after: await sideJson(invocation, key, after) };
}

async function sideJson(invocation: Invocation, key: Buffer, side: SideKey | undefined): Promise<Record<string, unknown> | null> {
  if (side === undefined) return null;
  const shown = invocation.options['values'] === true ? await shownOf(invocation, key, side) : undefined;
  return {
    modRevision: String(side.modRevision),
    version: String(side.version),
    lease: leaseJson(side.lease),
    ...(shown === undefined ? { valueBytes: side.valueBytes ?? null } : valueJson(shown.value, shown.shown)),
  };
}

function countsText({ added, removed, changed, rewritten, same, own }: DiffCounts): string {
  const again = rewritten === 0 ? '' : `, ${rewritten} written again with the same value`;
  const passed = own === 0 ? '' : `; ${own} of etcd-warden's own not shown`;
  return `${added} added, ${removed} removed, ${changed} changed${again}, ${same} the same${passed}`;
}
