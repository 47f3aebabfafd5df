import type { Backup } from '../../catalog/types.ts';
import { formatBytes } from '../../config/units.ts';
import { errorDetails, WardenError } from '../../errors.ts';
import { displayKey } from '../../inspect/display/text.ts';
import { previewValue } from '../../inspect/display/value.ts';
import { mergeHistory, type HistoryLine, type KnownChanges, type TimeBracket } from '../../inspect/history.ts';
import type { KeyEntry, KeyRevision } from '../../inspect/types.ts';
import {
  inspect,
  keyArgument,
  keyJson,
  leaseJson,
  leaseText,
  snapshotJson,
  withSnapshot,
  type Opened,
  type Sources,
} from '../inspecting.ts';
import { noteTo } from '../output/note.ts';
import { renderTable, type Column } from '../output/table.ts';
import type { Answer, Invocation } from '../verb.ts';
import { notThere } from './get.ts';

const PREVIEW_CHARACTERS = 60;

/** A backup that could not be asked, so its part of the history is missing. */
interface Skipped {
  readonly id: string;
  readonly code: string;
  readonly message: string;
}

interface Line extends HistoryLine {
  readonly preview: string;
}

export async function run(invocation: Invocation): Promise<Answer> {
  const key = keyArgument(invocation, invocation.arguments[1] ?? '');
  const { signal } = invocation.context;
  return inspect(invocation, async (opened, sources) => {
    const previews = new Map<string, string>();
    const known: KnownChanges[] = [];
    const skipped: Skipped[] = [];
    invocation.context.progress({ step: 'find', message: `looking for ${displayKey(key)} in ${opened.snapshot.name}` });
    const own = await opened.directory.find(key, signal);
    if (own !== undefined) await remember(invocation, opened, own, known, previews);
    if (invocation.options['all'] === true) await askOthers(invocation, opened, sources, { key, known, skipped, previews });
    if (known.length === 0) throw await notThere(opened, key, undefined, opened.held.last, signal);
    const lines = mergeHistory(known, marksOf(opened, sources)).map((line) => ({
      ...line,
      preview: previews.get(idOf(line.revision)) ?? '',
    }));
    return answerOf(invocation, opened, key, lines, skipped);
  });
}

/** Keeps what one snapshot holds, with a preview of each value that no other has shown yet when previews are asked for. */
async function remember(
  { options, context }: Invocation,
  { snapshot, directory }: Opened,
  entry: KeyEntry,
  known: KnownChanges[],
  previews: Map<string, string>,
): Promise<void> {
  known.push({ name: snapshot.name, entry });
  if (options['values'] !== true) return;
  for (const revision of entry.revisions) {
    if (revision.tombstone || previews.has(idOf(revision))) continue;
    const value = await directory.value(entry, revision, context.signal);
    const preview = previewValue(entry.key, value, { showSecrets: options['showSecrets'] === true, length: PREVIEW_CHARACTERS });
    previews.set(idOf(revision), preview);
  }
}

function idOf({ main, sub }: KeyRevision): string {
  return `${main}/${sub}`;
}

interface Gathered {
  readonly key: Buffer;
  readonly known: KnownChanges[];
  readonly skipped: Skipped[];
  readonly previews: Map<string, string>;
}

/** Every other backup of the same history; one that cannot be read is named, and the others go on. */
async function askOthers(invocation: Invocation, opened: Opened, sources: Sources, gathered: Gathered): Promise<void> {
  const { backup } = opened.snapshot;
  if (backup === undefined)
    throw new WardenError('usage', '--all goes with a backup in a store', {
      hint: 'a file says nothing of the others: name an id, or latest',
    });
  const { signal, progress } = invocation.context;
  for (const other of sameHistory(sources, backup)) {
    if (other.id === backup.id) continue;
    progress({ step: 'find', message: `looking for ${displayKey(gathered.key)} in ${other.id}` });
    try {
      await withSnapshot(invocation, sources, other.id, async (one) => {
        const entry = await one.directory.find(gathered.key, signal);
        if (entry !== undefined) await remember(invocation, one, entry, gathered.known, gathered.previews);
      });
    } catch (thrown) {
      signal.throwIfAborted();
      const { code, message } = errorDetails(thrown);
      gathered.skipped.push({ id: other.id, code, message });
      noteTo(invocation, `${other.id} is left out: ${message}`);
    }
  }
  gathered.known.sort((a, b) => (a.name < b.name ? -1 : 1)); // ids sort by time
}

function sameHistory({ catalog }: Sources, backup: Backup): readonly Backup[] {
  return catalog?.backups.filter(({ manifest }) => manifest.lineage === backup.manifest.lineage) ?? [];
}

/** Marks of all backups of the history, also where only one is asked: each narrows the time of a change. */
function marksOf({ snapshot }: Opened, sources: Sources): Backup['manifest']['marks'] {
  if (snapshot.backup === undefined) return [];
  return sameHistory(sources, snapshot.backup).flatMap(({ manifest }) => manifest.marks);
}

function answerOf(invocation: Invocation, opened: Opened, key: Buffer, lines: readonly Line[], skipped: readonly Skipped[]): Answer {
  const all = invocation.options['all'] === true;
  const values = invocation.options['values'] === true;
  return {
    exitCode: skipped.length > 0 ? 3 : 0,
    json: {
      snapshot: snapshotJson(opened),
      ...keyJson(key),
      history: lines.map(({ revision, when, heldBy, preview }) => ({
        revision: String(revision.main),
        kind: revision.tombstone ? 'delete' : 'put',
        createRevision: revision.tombstone ? null : String(revision.createRevision),
        version: revision.tombstone ? null : String(revision.version),
        valueBytes: revision.tombstone ? null : revision.valueBytes,
        lease: leaseJson(revision.lease),
        after: when.after ?? null,
        before: when.before ?? null,
        heldBy,
        ...(values ? { preview: revision.tombstone ? null : preview } : {}),
      })),
      skipped,
    },
    text: renderTable(
      COLUMNS.filter(({ only }) => (only === 'all' ? all : only === 'values' ? values : true)),
      lines,
      invocation.output.width,
    ),
  };
}

const COLUMNS: readonly (Column<Line> & { readonly only?: 'all' | 'values' })[] = [
  { title: 'REVISION', align: 'right', value: ({ revision }) => String(revision.main) },
  { title: 'KIND', value: ({ revision }) => (revision.tombstone ? 'delete' : 'put') },
  { title: 'VERSION', align: 'right', spare: 1, value: ({ revision }) => (revision.tombstone ? '-' : String(revision.version)) },
  { title: 'SIZE', align: 'right', value: ({ revision }) => (revision.tombstone ? '-' : formatBytes(revision.valueBytes)) },
  { title: 'LEASE', spare: 3, value: ({ revision }) => leaseText(revision.lease) },
  { title: 'WHEN', spare: 2, value: ({ when }) => whenText(when) },
  { title: 'VALUE', only: 'values', spare: 4, wrap: true, value: ({ preview }) => preview },
  { title: 'BACKUPS', only: 'all', wrap: true, value: ({ heldBy }) => heldBy.join(' ') },
];

/** Only what the marks tell: nobody recorded the time of each change. */
function whenText({ after, before }: TimeBracket): string {
  if (after !== undefined && before !== undefined) return `${short(after)} to ${short(before)}`;
  if (before !== undefined) return `before ${short(before)}`;
  return after === undefined ? '-' : `after ${short(after)}`;
}

/** To the second, which is more than a mark can promise. */
function short(time: string): string {
  return time.replace(/\.\d+Z$/u, 'Z');
}
