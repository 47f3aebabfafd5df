/** The plan of a restore for people: what will be made, then what to do, in order. Commands are never wrapped, so that they can be pasted. */
import { formatBytes, formatDurationShort } from '../config/units.ts';
import type { MemberPlan, PlanStep, RestorePlan } from '../restore/plan/types.ts';
import { printable, wrapText } from './output/table.ts';

const WIDTH = 100;
const INDENT = '   ';

/** Lines without a final newline. */
export function planText(plan: RestorePlan): string {
  return [
    ...head(plan),
    ...plan.warnings.map((sentence) => `\n${wrapped(`warning: ${sentence}`, '')}`),
    '',
    ...plan.steps.flatMap((each, index) => stepLines(each, index + 1, plan)),
    ...elsewhere(plan),
    'Not in any snapshot:',
    ...plan.notInSnapshot.map(({ what, where }) => wrapped(`- ${what} (${where})`, '  ')),
  ].join('\n');
}

/** What is done for one member alone: after its restore. */
export function memberText(plan: RestorePlan, name: string): string {
  const later = plan.steps.slice(plan.steps.findLastIndex((each) => each.name === 'restore') + 1);
  const own = later.filter(({ member }) => member === undefined || member === name);
  return own
    .flatMap((each, index) => stepLines(each, index + 1, plan))
    .join('\n')
    .trimEnd();
}

function head(plan: RestorePlan): string[] {
  const { source, revisions } = plan;
  const fields: [string, string][] = [
    [source.kind, [source.name, ...(source.cluster === undefined ? [] : [`of ${source.cluster}`])].join(' ')],
    ...(source.time === undefined ? [] : [['taken', takenText(plan, source.time)] satisfies [string, string]]),
    ...(source.revision === undefined ? [] : [['revision', revisionText(plan, source.revision)] satisfies [string, string]]),
    [
      'size',
      [
        formatBytes(source.databaseBytes),
        ...(source.storedBytes === undefined ? [] : [`${formatBytes(source.storedBytes)} stored`]),
        ...(source.encrypted ? ['encrypted'] : []),
      ].join(', '),
    ],
    ...(source.stores.length === 0
      ? []
      : [['lies in', source.stores.map(({ name, address }) => `${name} (${address})`).join(', ')] satisfies [string, string]]),
    ['platform', `${plan.platform.name}: ${plan.platform.reason}`],
    ['etcd', `${plan.etcd.minor}: ${plan.etcd.reason}`],
  ];
  const own: [string, string][] = [
    ['builder', `${plan.builder.name}: ${plan.builder.reason}`],
    [
      'token',
      `${plan.token} (${plan.tokenFrom === 'given' ? 'as given' : `derived from the backup, the initial cluster and attempt ${plan.attempt}`})`,
    ],
    ['cluster id', plan.clusterId],
    ['members', plan.members.map(({ name, id, peerUrls }) => `${name} ${id} ${peerUrls.join(',')}`).join('\n')],
  ];
  const rows: [string, string][] = [...fields, ...(plan.members.length === 0 ? [] : own), ['revisions', raisedText(revisions)]];
  const wide = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.flatMap(([name, text]) =>
    text.split('\n').flatMap((part, row) =>
      wrapText(printable(part), WIDTH - wide)
        .split('\n')
        .map((line, at) => `${(row === 0 && at === 0 ? name : '').padEnd(wide)}${line}`),
    ),
  );
}

function takenText({ source }: RestorePlan, time: string): string {
  const { gapMs, askedTime } = source;
  if (gapMs === undefined || askedTime === undefined) return time;
  return `${time}, ${formatDurationShort(Math.abs(gapMs))} ${gapMs < 0 ? 'after' : 'before'} the time that was asked for (${askedTime})`;
}

function revisionText({ source }: RestorePlan, revision: string): string {
  return source.compactRevision === undefined ? revision : `${revision} (history from ${source.compactRevision} on)`;
}

function raisedText({ raised, by, from, to, why }: RestorePlan['revisions']): string {
  const figures = by === undefined ? '' : from === undefined || to === undefined ? ` by ${by}` : ` by ${by}, from ${from} to ${to}`;
  const word = raised === 'no' ? 'not raised' : raised === 'yes' ? `raised${figures}` : `raised${figures}`;
  return raised === 'if-kubernetes' ? `${word}, ${why}` : `${word}: ${why}`;
}

function stepLines({ title, why, where, commands, notes, name, member }: PlanStep, number: number, plan: RestorePlan): string[] {
  const settings = name === 'configure' ? plan.members.find((each) => each.name === member) : undefined;
  return [
    wrapped(`${number}. ${title}, on ${where}`.replace(', on wherever', ', wherever'), INDENT),
    `${INDENT}${wrapped(why, INDENT, WIDTH - INDENT.length)}`,
    ...notes.filter((note) => !note.startsWith(' ')).map((note) => `${INDENT}${wrapped(`note: ${note}`, INDENT, WIDTH - INDENT.length)}`),
    '',
    ...commands.map((line) => `    ${line}`),
    ...notes.filter((note) => note.startsWith(' ')),
    ...(settings === undefined || plan.platform.name === 'kubeadm' ? [] : settingLines(settings)),
    ...(commands.length > 0 || settings !== undefined ? [''] : []),
  ];
}

/** As flags and as environment: etcd refuses to start when one setting is in both. */
function settingLines({ flags, environment }: MemberPlan): string[] {
  return [
    `${INDENT}as flags, or as environment, never both: etcd refuses to start with a setting in both`,
    '',
    ...flags.map((flag) => `    ${flag}`),
    '',
    ...Object.entries(environment).map(([name, value]) => `    ${name}=${value}`),
  ];
}

function elsewhere({ members }: RestorePlan): string[] {
  if (members.length === 0) return [];
  const [reason] = members.flatMap(({ etcdutl }) => (etcdutl.possible ? [] : [etcdutl.reason]));
  if (reason !== undefined)
    return [
      wrapped(
        `On a machine without etcd-warden: not possible, since ${reason}. Restore there with --no-bump on every machine, or bring etcd-warden.`,
        '',
      ),
      '',
    ];
  return [
    'On a machine without etcd-warden, in place of its restore:',
    '',
    ...members.flatMap(({ name, etcdutl }) =>
      etcdutl.possible
        ? [
            `  ${name}:`,
            ...etcdutl.notes.map((note) => `${INDENT}${wrapped(`note: ${note}`, INDENT, WIDTH - INDENT.length)}`),
            '',
            ...etcdutl.commands.map((line) => `    ${line}`),
            '',
          ]
        : [],
    ),
  ];
}

/** Wrapped, with what hangs over indented. */
function wrapped(text: string, indent: string, width = WIDTH): string {
  return wrapText(printable(text), width).replaceAll('\n', `\n${indent}`);
}
