/** `restore --check`: whether the cluster that runs now is the one that was restored, and holds what was restored. */
import { readFile } from 'node:fs/promises';
import { parseDuration } from '../../config/units.ts';
import { asError, WardenError } from '../../errors.ts';
import { accessOf } from '../../etcd/access.ts';
import { decodeRestoreRecord, RESTORE_RECORD_MAX_BYTES } from '../../format/restore-record.ts';
import type { RestoreRecord } from '../../format/types.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { clusterOf } from '../../jobs/stores.ts';
import { checkRestored, type RestoredCheck, type RestoredMember } from '../../restore/check/check.ts';
import { recordOfCluster } from '../../restore/check/record.ts';
import { printable, renderTable, wrapText } from '../output/table.ts';
import { chosenCluster, clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

const PATIENCE_MS = 60_000;

/** What each outcome ends with. Of `agreed` a script must know that less was proved than it may have wanted. */
const EXIT_CODES = { restored: 0, agreed: 3, waiting: 1, inconclusive: 1, differs: 13 } as const;

/**
 * Options: `check` (endpoints, comma-separated; `true` = the configured ones), `record` (path), `timeout` (duration).
 * @throws WardenError `usage`, `nothing-found` without a record, `verification-failed` when another cluster answers, and what asking throws
 */
export async function check(invocation: Invocation): Promise<Answer> {
  const { loaded, context, options } = invocation;
  const settings = clusterOf(context.config, chosenCluster(loaded));
  const given = typeof options['check'] === 'string' ? options['check'].split(',').filter((each) => each.trim() !== '') : [];
  const access = { ...accessOf(settings), ...(given.length === 0 ? {} : { endpoints: given }) };
  const timeoutMs = patience(options['timeout']);
  const search = { access, signal: context.signal, progress: context.progress, timeoutMs };
  const started = performance.now();
  const named = options['record'];
  const record =
    typeof named === 'string' ? await readRecord(named) : await recordOfCluster({ ...search, records: await knownRecords(invocation) });
  const left = Math.max(0, timeoutMs - (performance.now() - started));
  return answerOf(record, await checkRestored({ ...search, record, timeoutMs: left }), invocation.output.width);
}

function patience(text: unknown): number {
  if (typeof text !== 'string') return PATIENCE_MS;
  const ms = parseDuration(text);
  if (ms === undefined) throw new WardenError('usage', `--timeout ${JSON.stringify(text)} is not a duration`, { hint: 'as in 90s or 5m' });
  return ms;
}

/** Beside the data directory on this machine, and in the stores. */
async function knownRecords(invocation: Invocation): Promise<RestoreRecord[]> {
  const { loaded, context } = invocation;
  const given = invocation.options['dataDir'];
  const dataDir = typeof given === 'string' ? given : clusterSettings(loaded, chosenCluster(loaded))?.restore.dataDir;
  const records: RestoreRecord[] = [];
  if (dataDir !== undefined) {
    const beside = await readRecord(`${dataDir.replace(/\/+$/u, '')}.restore.json`).catch((error: unknown) => {
      if (error instanceof WardenError && error.code === 'nothing-found') return undefined;
      throw error;
    });
    if (beside !== undefined) records.push(beside);
  }
  try {
    await withReadStores(invocation, async (stores) => {
      const { acceptances } = await loadCatalog(stores, await readCluster(invocation, stores), context.signal);
      for (const { restore } of acceptances) if (restore !== undefined) records.push(restore);
      return { json: null, text: '' };
    });
  } catch (error) {
    // The one beside the data directory is as good; without it, why the stores did not tell is what matters.
    if (records.length === 0) throw orNamed(error);
    context.logger.warn({ err: asError(error) }, 'the stores were not asked for the record of the restore');
  }
  if (records.length > 0) return records;
  throw new WardenError('nothing-found', 'there is no record of a restore in the stores, nor beside the data directory', {
    hint: 'each restore writes NAME.restore.json beside the data directory NAME: name one with --record',
  });
}

/** Where there are no stores, or nothing in them, there may still be the file. */
function orNamed(error: unknown): unknown {
  if (!(error instanceof WardenError) || (error.code !== 'usage' && error.code !== 'nothing-found')) return error;
  return new WardenError(error.code, error.message, {
    hint: `name the record of the restore with --record (NAME.restore.json, beside a data directory)${error.hint === undefined ? '' : `; or ${error.hint}`}`,
    cause: error,
  });
}

async function readRecord(path: string): Promise<RestoreRecord> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new WardenError(missing ? 'nothing-found' : 'disk-failed', `the record ${path} cannot be read: ${asError(error).message}`, {
      cause: error,
    });
  }
  try {
    return decodeRestoreRecord(bytes.subarray(0, 16 * RESTORE_RECORD_MAX_BYTES));
  } catch (error) {
    if (!(error instanceof WardenError)) throw error;
    // 13 would say that the cluster is not what was restored.
    const code = error.code === 'manifest-invalid' ? 'usage' : error.code;
    throw new WardenError(code, `${path} is no record of a restore: ${error.message}`, { hint: error.hint, cause: error });
  }
}

function answerOf(record: RestoreRecord, result: RestoredCheck, width: number): Answer {
  const { outcome, members, reasons, notes } = result;
  return {
    exitCode: EXIT_CODES[outcome],
    json: {
      outcome,
      clusterId: record.clusterId,
      revision: record.revision,
      compactRevision: record.compactRevision,
      hash: record.hash,
      restored: record.time,
      backup: record.source.backup ?? null,
      members: members.map((each) => ({
        id: each.id,
        name: each.name,
        endpoint: each.endpoint ?? null,
        version: each.version ?? null,
        revision: each.revision ?? null,
        compactRevision: each.compactRevision ?? null,
        hash: each.hash ?? null,
        asRecorded: each.asRecorded ?? null,
        tookMs: each.tookMs ?? null,
      })),
      reasons,
      notes,
    },
    text: [
      wrapText(headline(record, result), width),
      '',
      table(members, width),
      ...(reasons.length === 0 ? [] : ['', ...reasons.map((reason) => wrapText(`  ${printable(reason)}`, width))]),
      ...(outcome === 'waiting' ? ['', ...waitingHints(width)] : []),
      ...notes.map((note) => wrapText(`  note: ${printable(note)}`, width)),
    ].join('\n'),
  };
}

function waitingHints(width: number): string[] {
  return [
    'hint: ask again with a longer --timeout; HashKV is asked for only when everybody answers',
    'hint: one that runs and never answers may be of another attempt: the logs of the others then say "cluster ID mismatch"',
  ].map((line) => wrapText(line, width));
}

function headline({ clusterId, revision, source }: RestoreRecord, { outcome, members }: RestoredCheck): string {
  const cluster = `cluster ${clusterId}`;
  const from = source.backup === undefined ? '' : ` from ${source.backup}`;
  switch (outcome) {
    case 'restored':
      return `restored: ${members.length === 1 ? 'the member' : `all ${members.length} members`} of ${cluster} ${members.length === 1 ? 'holds' : 'hold'} exactly what was restored${from}, revision ${revision}`;
    case 'agreed':
      return `${cluster}: the members agree with each other; whether they hold what was restored can no longer be proved`;
    case 'waiting':
      return `${cluster} is NOT RESTORED YET: not everybody has answered`;
    case 'inconclusive':
      return `${cluster}: nothing was proved`;
    case 'differs':
      return `${cluster} is NOT what was restored: let no client in`;
  }
}

function table(members: readonly RestoredMember[], width: number): string {
  return renderTable(
    [
      { title: 'member', value: ({ name }: RestoredMember) => printable(name) },
      { title: 'id', value: ({ id }: RestoredMember) => id },
      { title: 'endpoint', value: ({ endpoint }: RestoredMember) => printable(endpoint ?? '-') },
      { title: 'version', value: ({ version }: RestoredMember) => printable(version ?? '-') },
      { title: 'revision', value: (each: RestoredMember) => each.revision ?? '-' },
      { title: 'hash', value: (each: RestoredMember) => each.hash?.toString() ?? '-' },
      { title: 'as restored', value: (each: RestoredMember) => (each.asRecorded === undefined ? '-' : each.asRecorded ? 'yes' : 'NO') },
    ],
    // As people count them; a record lists members by their ids.
    members.toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })),
    width,
  );
}
