/** What putting keys back changes, and what came of it, as people read it. */
import { formatBytes } from '../../config/units.ts';
import { leaseAfter } from '../../inspect/put/compare.ts';
import type { Change, Put, PutPlan } from '../../inspect/put/types.ts';
import { displayKey } from '../../inspect/display/text.ts';
import { leaseJson } from '../inspecting.ts';
import { renderTable, type Column } from './table.ts';

interface Row {
  readonly change: Change;
  readonly put: Put | undefined;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'KEY', value: ({ change }) => displayKey(change.entry.key) },
  { title: 'CHANGE', value: ({ change }) => change.kind },
  { title: 'RESULT', value: ({ put }) => put?.outcome ?? '' },
  { title: 'LIVE', align: 'right', value: ({ change }) => (change.kind === 'added' ? '' : formatBytes(change.liveBytes)) },
  { title: 'LIVE REV', align: 'right', spare: 1, value: ({ change }) => (change.kind === 'added' ? '' : String(change.liveModRevision)) },
  { title: 'BACKUP', align: 'right', value: ({ change }) => formatBytes(change.revision.valueBytes) },
  { title: 'BACKUP REV', align: 'right', spare: 2, value: ({ change }) => String(change.revision.main) },
  { title: 'LEASE', spare: 3, value: ({ change }) => leaseJson(leaseAfter(change)) ?? '' },
  { title: 'VALUE', wrap: true, value: ({ change, put }) => put?.reason ?? change.preview },
];

export interface PutStory {
  /** Id of the backup, or the path of the file. */
  readonly from: string;
  /** Of the live cluster, hex. */
  readonly clusterId: string;
  readonly warnings: readonly string[];
}

/** Before anything is written. */
export function planText(plan: PutPlan, story: PutStory, width: number): string {
  const rows = plan.changes.map((change): Row => ({ change, put: undefined }));
  const added = plan.changes.filter(({ kind }) => kind === 'added').length;
  return [
    renderTable(COLUMNS, rows, width),
    ...story.warnings.map((warning) => `warning: ${warning}`),
    `from ${story.from} into cluster ${story.clusterId}: ${added} added, ${plan.changes.length - added} changed, ${plan.same} the same`,
    ...(plan.changes.length > 1 ? ['in transactions of at most 100 keys and 1 MiB; atomic only within one of them'] : []),
  ].join('\n');
}

/** @param shown the plan was shown before, so only what went another way is worth a line */
export function resultText(plan: PutPlan, puts: readonly Put[], story: PutStory, options: { width: number; shown: boolean }): string {
  const rows = puts
    .filter(({ outcome }) => !options.shown || (outcome !== 'put' && outcome !== 'already-there'))
    .map((put): Row => ({ change: put.change, put }));
  const count = (...outcomes: Put['outcome'][]): number => puts.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const parts = [
    `${count('put')} of ${puts.length} put`,
    some(count('already-there'), 'put by somebody else meanwhile'),
    some(count('conflict'), 'left alone because they are newer than what was shown'),
    some(count('failed'), 'failed'),
    some(count('not-tried'), 'not tried'),
    some(plan.same, 'the same already'),
  ].filter((part) => part !== undefined);
  const open = count('conflict', 'failed', 'not-tried');
  return [
    ...(rows.length === 0 ? [] : [renderTable(COLUMNS, rows, options.width)]),
    ...(options.shown ? [] : story.warnings.map((warning) => `warning: ${warning}`)),
    `from ${story.from} into cluster ${story.clusterId}: ${parts.join(', ')}`,
    ...(open === 0 ? [] : ['the same command again looks anew and puts what is left']),
  ].join('\n');
}

function some(number: number, what: string): string | undefined {
  return number === 0 ? undefined : `${number} ${what}`;
}
