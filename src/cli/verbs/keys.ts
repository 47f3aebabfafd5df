import { formatBytes } from '../../config/units.ts';
import { WardenError } from '../../errors.ts';
import { displayKey } from '../../inspect/display/text.ts';
import { prefixRange } from '../../inspect/range.ts';
import { chooseRevision, liveAt } from '../../inspect/state.ts';
import { summarize, type PrefixSize, type Summary } from '../../inspect/summary.ts';
import type { KeyRevision } from '../../inspect/types.ts';
import { inspect, keyArgument, keyJson, leaseJson, leaseText, snapshotJson, type Opened } from '../inspecting.ts';
import { numberOption, revisionOption } from '../option-values.ts';
import { noteTo } from '../output/note.ts';
import { streamJson, streamTable } from '../output/stream.ts';
import { renderTable, wrapText, type Column } from '../output/table.ts';
import type { Answer, Invocation } from '../verb.ts';

const DEFAULT_DEPTH = 3;

/** What of a snapshot is looked at. */
interface Asked {
  readonly prefix: Buffer;
  readonly revision: bigint;
}

export async function run(invocation: Invocation): Promise<Answer> {
  const { arguments: args, options } = invocation;
  const summary = options['summary'] === true;
  for (const name of ['depth', 'separator'])
    if (!summary && options[name] !== undefined)
      throw new WardenError('usage', `--${name} goes with --summary`, { hint: 'etcd-warden keys latest --summary --depth 3' });
  const limit = numberOption(invocation, 'limit', 1) ?? Infinity;
  const depth = numberOption(invocation, 'depth', 0) ?? DEFAULT_DEPTH;
  const separator = Buffer.from((options['separator'] as string | undefined) ?? '/');
  if (separator.length === 0)
    throw new WardenError('usage', '--separator is empty', { hint: 'prefixes end with it, as in /registry/pods/' });
  return inspect(invocation, async (opened) => {
    const revision = chooseRevision(revisionOption(invocation), opened.held, opened.snapshot.name);
    const asked: Asked = { prefix: keyArgument(invocation, args[1] ?? ''), revision };
    if (!summary) return list(invocation, opened, asked, limit);
    const entries = opened.directory.entries(prefixRange(asked.prefix), invocation.context.signal);
    const sizes = await summarize(entries, { revision, depth, separator });
    return summaryAnswer(sizes, { opened, asked, depth, limit, separator, width: invocation.output.width });
  });
}

interface Row {
  readonly key: Buffer;
  readonly revision: KeyRevision;
}

/** Goes out while it is read: there may be millions. */
async function list(invocation: Invocation, opened: Opened, asked: Asked, limit: number): Promise<Answer> {
  const { output, json } = invocation;
  let count = 0;
  let more = false;
  async function* rows(): AsyncGenerator<Row, void, undefined> {
    for await (const entry of opened.directory.entries(prefixRange(asked.prefix), invocation.context.signal)) {
      const revision = liveAt(entry, asked.revision);
      if (revision === undefined) continue;
      more = count === limit;
      if (more) return;
      count += 1;
      yield { key: entry.key, revision };
    }
  }
  if (json) {
    const head = { snapshot: snapshotJson(opened), revision: String(asked.revision), prefix: prefixJson(asked.prefix) };
    const exitCode = await streamJson(output, head, 'keys', async (add) => {
      for await (const row of rows()) await add(rowJson(row));
      return { count, more };
    });
    return { exitCode, json: undefined, text: '', written: true };
  }
  const table = streamTable(columnsFor(opened.held.last), output);
  for await (const row of rows()) await table.add(row);
  await table.end();
  const what = asked.prefix.length === 0 ? '' : ` beginning with ${displayKey(asked.prefix)}`;
  noteTo(
    invocation,
    `${count} key${count === 1 ? '' : 's'}${what} at revision ${asked.revision} of ${opened.snapshot.name}${more ? '; there are more' : ''}`,
  );
  return { json: undefined, text: '', written: true };
}

function prefixJson(prefix: Buffer): unknown {
  return prefix.length === 0 ? null : keyJson(prefix);
}

function rowJson({ key, revision }: Row): Record<string, unknown> {
  return {
    ...keyJson(key),
    createRevision: String(revision.createRevision),
    modRevision: String(revision.main),
    version: String(revision.version),
    valueBytes: revision.valueBytes,
    lease: leaseJson(revision.lease),
  };
}

/** Each as wide as it can become, so that rows which are laid out apart line up. */
function columnsFor(last: bigint): readonly Column<Row>[] {
  const digits = Math.max('REVISION'.length, String(last).length);
  return [
    { title: 'REVISION', align: 'right', value: ({ revision }) => String(revision.main).padStart(digits) },
    { title: 'VERSION', align: 'right', spare: 1, value: ({ revision }) => String(revision.version).padStart(7) },
    { title: 'SIZE', align: 'right', value: ({ revision }) => formatBytes(revision.valueBytes).padStart(8) },
    { title: 'LEASE', spare: 2, value: ({ revision }) => leaseText(revision.lease).padEnd(16) },
    { title: 'KEY', wrap: true, value: ({ key }) => displayKey(key) },
  ];
}

interface SummaryContext {
  readonly opened: Opened;
  readonly asked: Asked;
  readonly depth: number;
  readonly limit: number;
  readonly separator: Buffer;
  readonly width: number;
}

function summaryAnswer({ prefixes, total }: Summary, { opened, asked, depth, limit, separator, width }: SummaryContext): Answer {
  const shown = prefixes.slice(0, limit);
  const all = total.liveBytes + total.historyBytes;
  const left = prefixes.length - shown.length;
  const last = `${total.keys} keys with ${formatBytes(total.liveBytes)}, and ${formatBytes(total.historyBytes)} of history in ${total.historyRecords} records, at revision ${asked.revision}`;
  return {
    json: {
      snapshot: snapshotJson(opened),
      revision: String(asked.revision),
      prefix: prefixJson(asked.prefix),
      depth,
      separator: separator.toString(),
      prefixes: shown.map(({ prefix, ...sizes }) => ({
        ...(prefix === undefined ? { key: null, keyEncoding: null } : keyJson(prefix)),
        ...sizes,
      })),
      more: left > 0,
      total,
    },
    text: [
      ...(shown.length === 0 ? [] : [renderTable(sizeColumns(all), shown, width)]),
      ...(left > 0 ? [wrapText(`(${left} smaller ones are not shown)`, width)] : []),
      wrapText(last, width),
    ].join('\n'),
  };
}

function sizeColumns(all: number): readonly Column<PrefixSize>[] {
  return [
    { title: 'KEYS', align: 'right', value: ({ keys }) => String(keys) },
    { title: 'LIVE', align: 'right', value: ({ liveBytes }) => formatBytes(liveBytes) },
    { title: 'HISTORY', align: 'right', spare: 1, value: ({ historyBytes }) => formatBytes(historyBytes) },
    { title: 'SHARE', align: 'right', value: (size) => share(size.liveBytes + size.historyBytes, all) },
    { title: 'PREFIX', wrap: true, value: ({ prefix }) => prefixText(prefix) },
  ];
}

function prefixText(prefix: Buffer | undefined): string {
  if (prefix === undefined) return '(many small ones)';
  return prefix.length === 0 ? '(no separator)' : displayKey(prefix);
}

function share(bytes: number, all: number): string {
  return all === 0 ? '-' : `${((bytes / all) * 100).toFixed(1)}%`;
}
