import { findBackup } from '../../catalog/find.ts';
import { formatBytes } from '../../config/units.ts';
import { WardenError } from '../../errors.ts';
import { isFileReference } from '../../inspect/open.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { createExportFile } from '../../jobs/export-file.ts';
import { exportBackup, exportFile, type Exported, type ExportSink } from '../../jobs/export.ts';
import { identityFor } from '../../jobs/identity.ts';
import { printable } from '../output/table.ts';
import { clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

const STDOUT = '-';

export async function run(invocation: Invocation): Promise<Answer> {
  const { json, output, context, loaded } = invocation;
  const [reference = 'latest', path = STDOUT] = invocation.arguments;
  if (path === STDOUT) {
    if (json) throw new WardenError('usage', '--json and `-` exclude each other', { hint: 'standard output can carry only one of them' });
    if (output.terminal)
      throw new WardenError('usage', 'a snapshot is binary and standard output is a terminal', {
        hint: `etcd-warden export ${reference} - > snapshot.db`,
      });
  }
  if (isFileReference(reference)) {
    const cluster = loaded.selected.cluster ?? Object.keys(loaded.config.clusters)[0] ?? '';
    const identities = await identityFor(loaded.config.clusters[cluster]);
    return into(invocation, path, 0, undefined, (sink) => exportFile(reference, sink, identities, context));
  }
  return withReadStores(invocation, async (stores) => {
    const cluster = await readCluster(invocation, stores);
    const catalog = await loadCatalog(stores, cluster, context.signal);
    const backup = findBackup(catalog, reference);
    const identities = await identityFor(clusterSettings(loaded, cluster));
    if (backup.suspect !== undefined)
      output.err(`${output.style('yellow', 'warning:')} ${backup.id} is suspect: ${printable(backup.suspect)}`);
    return into(invocation, path, backup.manifest.plain.bytes, backup.suspect, (sink) =>
      exportBackup(backup, stores, sink, identities, context),
    );
  });
}

async function into(
  { output, options }: Invocation,
  path: string,
  expectedBytes: number,
  suspect: string | undefined,
  work: (sink: ExportSink) => Promise<Exported>,
): Promise<Answer> {
  if (path === STDOUT) {
    let begun = false;
    const sink: ExportSink = {
      write: (block) => {
        begun = true;
        return output.write(block);
      },
      restart: () => Promise.resolve(!begun),
    };
    try {
      const exported = await work(sink);
      return { json: exported, text: '', written: true };
    } catch (error) {
      if (begun) output.err('what was written to standard output is NOT a whole snapshot');
      throw error;
    }
  }
  const file = await createExportFile(path, { force: options['force'] === true, expectedBytes });
  try {
    const exported = await work(file);
    await file.commit();
    const from = exported.store === undefined ? '' : ` from ${exported.store}`;
    return {
      json: { ...exported, store: exported.store ?? null, file: path, suspect: suspect ?? null },
      text: `${printable(exported.source)}${from}: ${formatBytes(exported.bytes)} in ${printable(path)}, verified\nSHA-256 ${exported.sha256}`,
    };
  } finally {
    await file.close();
  }
}
