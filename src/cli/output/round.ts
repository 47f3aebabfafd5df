/** What came of a round of maintenance, for people and as JSON. */
import { formatBytes, formatDurationShort } from '../../config/units.ts';
import type { ActionResult, RoundResult } from '../../maintenance/types.ts';
import { refusalLines } from './plan.ts';
import { printable, renderTable, wrapText, type Column } from './table.ts';

const COLUMNS: readonly Column<ActionResult>[] = [
  { title: 'ACTION', value: ({ action }) => action },
  { title: 'MEMBER', value: ({ member }) => member ?? '' },
  { title: 'TOOK', align: 'right', value: ({ tookMs }) => formatDurationShort(tookMs) },
  {
    title: 'PREDICTED',
    align: 'right',
    spare: 1,
    value: ({ predictedMs }) => (predictedMs === undefined ? '' : formatDurationShort(predictedMs)),
  },
  { title: 'BEFORE', align: 'right', value: ({ beforeBytes }) => bytes(beforeBytes) },
  { title: 'AFTER', align: 'right', value: ({ afterBytes }) => bytes(afterBytes) },
  { title: 'RECLAIMED', align: 'right', value: (result) => bytes(reclaimed(result)) },
  // The numbers of a defragmentation are in the row already.
  { title: 'WHAT', wrap: true, value: ({ action, message }) => (action === 'defrag' ? '' : message) },
];

function bytes(value: number | undefined): string {
  return value === undefined ? '' : formatBytes(value);
}

function reclaimed({ beforeBytes, afterBytes }: ActionResult): number | undefined {
  return beforeBytes === undefined || afterBytes === undefined ? undefined : beforeBytes - afterBytes;
}

export function roundText(result: RoundResult, width: number): string {
  const { cluster, outcome, actions, plan, failure } = result;
  const frozen = actions.filter(({ action }) => action === 'defrag');
  const total = frozen.reduce((sum, one) => sum + (reclaimed(one) ?? 0), 0);
  const sum =
    frozen.length === 0 ? '' : `; ${frozen.length} member${frozen.length === 1 ? '' : 's'} defragmented, ${formatBytes(total)} given back`;
  return [
    ...(actions.length === 0 ? [] : [renderTable(COLUMNS, actions, width)]),
    wrapText(`cluster ${cluster}: ${SENTENCES[outcome]}${sum}`, width),
    ...(failure === undefined
      ? []
      : [
          wrapText(`${failure.code}: ${printable(failure.message)}`, width),
          ...(failure.hint === undefined ? [] : [wrapText(`hint: ${printable(failure.hint)}`, width)]),
        ]),
    // After a surprise the last plan says nothing any more.
    ...(outcome === 'failed'
      ? []
      : refusalLines(
          // An alarm that is gone because it was just disarmed is not left alone.
          plan.refusals.filter(({ rule }) => rule !== 'done' && !(outcome === 'done' && rule === 'not-armed')),
          WORDS[outcome],
          width,
        )),
  ].join('\n');
}

const SENTENCES: Readonly<Record<RoundResult['outcome'], string>> = {
  done: 'done',
  nothing: 'nothing to do',
  refused: 'REFUSED',
  failed: 'ENDED EARLY by something unexpected',
};

const WORDS: Readonly<Record<RoundResult['outcome'], string>> = {
  done: 'left alone',
  nothing: 'left alone',
  refused: 'refused',
  failed: 'refused',
};

export function actionJson(result: ActionResult): Record<string, unknown> {
  return {
    action: result.action,
    member: result.member ?? null,
    tookMs: result.tookMs,
    predictedMs: result.predictedMs ?? null,
    beforeBytes: result.beforeBytes ?? null,
    afterBytes: result.afterBytes ?? null,
    reclaimedBytes: reclaimed(result) ?? null,
    revision: result.revision ?? null,
    message: result.message,
  };
}
