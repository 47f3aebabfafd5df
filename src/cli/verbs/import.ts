import { formatBytes } from '../../config/units.ts';
import { ERRORS, errorDetails, WardenError, type ErrorDetails } from '../../errors.ts';
import { identityFor } from '../../jobs/identity.ts';
import { timeGiven } from '../../jobs/import-time.ts';
import { importSnapshot, type ImportLine } from '../../jobs/import.ts';
import { clusterOf, withStores } from '../../jobs/stores.ts';
import { renderTable, type Column } from '../output/table.ts';
import { chosenCluster, requireStore } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

type Line = ImportLine | { readonly file: string; readonly outcome: 'failed'; readonly error: ErrorDetails };

export async function run(invocation: Invocation): Promise<Answer> {
  const { arguments: files, options, loaded, context, output } = invocation;
  const time = typeof options['time'] === 'string' ? timeGiven(options['time'], context.now()) : undefined;
  if (time !== undefined && files.length > 1)
    throw new WardenError('usage', '--time is the time of one file', { hint: 'import them one by one' });
  const name = chosenCluster(loaded);
  requireStore(loaded, name);
  const cluster = clusterOf(loaded.config, name);
  const identities = await identityFor(cluster);
  const request = {
    cluster: name,
    time,
    label: options['label'] as string | undefined,
    recipients: cluster.encryption.recipients,
    identities,
  };
  return withStores(loaded.config, cluster.backup.stores, context.logger, async (stores) => {
    const lines: Line[] = [];
    for (const file of files) {
      try {
        lines.push(await importSnapshot(file, stores, request, context));
      } catch (error) {
        context.signal.throwIfAborted();
        // One of many must not keep the others out; alone it is the verb's failure.
        if (files.length === 1) throw error;
        lines.push({ file, outcome: 'failed', error: errorDetails(error) });
      }
    }
    return { exitCode: exitCodeOf(lines), json: { cluster: name, results: lines }, text: renderTable(COLUMNS, lines, output.width) };
  });
}

/** All failed for one reason: its own code. */
function exitCodeOf(lines: readonly Line[]): number {
  const codes = lines.flatMap((line) => (line.outcome === 'failed' ? [line.error.code] : []));
  if (codes.length === 0) return lines.some((line) => line.outcome === 'partial') ? 3 : 0;
  if (codes.length < lines.length) return 3;
  const [code, ...others] = new Set(codes);
  return code === undefined || others.length > 0 ? 1 : ERRORS[code].exit;
}

const COLUMNS: readonly Column<Line>[] = [
  { title: 'FILE', value: ({ file }) => file },
  { title: 'RESULT', value: ({ outcome }) => outcome },
  { title: 'ID', value: (line) => (line.outcome === 'failed' ? '' : line.id) },
  { title: 'REVISION', align: 'right', spare: 1, value: (line) => (line.outcome === 'failed' ? '' : line.revision) },
  { title: 'KEYS', align: 'right', spare: 2, value: (line) => (line.outcome === 'failed' ? '' : String(line.keyCount)) },
  { title: 'SIZE', align: 'right', value: (line) => (line.outcome === 'failed' ? '' : formatBytes(line.plainBytes)) },
  { title: 'WHY', wrap: true, value: reasonOf },
];

function reasonOf(line: Line): string {
  if (line.outcome === 'failed') return line.error.message;
  if (line.outcome === 'present') return 'the same database is there already';
  return line.stores.flatMap(({ store, error }) => (error === undefined ? [] : [`${store}: ${error.message}`])).join('; ');
}
