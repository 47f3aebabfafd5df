/** The plan of a restore for people: what will be made, then what to do, in order. Commands are never wrapped, so that they can be pasted. */
import { formatBytes, formatDurationShort } from '../config/units.ts';
import type { PlanStep, RestorePlan } from '../restore/plan/types.ts';
import { printable, wrapText } from './output/table.ts';

const WIDTH = 100;
const INDENT = '   ';

/** Lines without a final newline. */
export function planText(plan: RestorePlan): string {
  return [
    ...head(plan),
    ...plan.warnings.map((sentence) => `\n${wrapped(`warning: ${sentence}`, '')}`),
    '',
    ...stepsText(plan.steps, plan),
    ...elsewhere(plan),
    'Not in any snapshot:',
    ...plan.notInSnapshot.map(({ what, where }) => wrapped(`- ${what} (${where})`, '  ')),
  ]
    .join('\n')
    .replaceAll(/\n{3,}/gu, '\n\n');
}

/** What is left to do on a machine once its members are restored. */
export function memberText(plan: RestorePlan, ...names: readonly string[]): string {
  const later = plan.steps.slice(plan.steps.findLastIndex((each) => each.name === 'restore') + 1);
  return stepsText(
    later.filter(({ member }) => member === undefined || names.includes(member)),
    plan,
  )
    .join('\n')
    .replaceAll(/\n{3,}/gu, '\n\n')
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
  const { compactRevision } = source;
  if (compactRevision === undefined) return revision;
  return `${revision} (${BigInt(compactRevision) < 1n ? 'nothing of it was ever compacted' : `history from ${compactRevision} on`})`;
}

function raisedText({ raised, by, from, to, why }: RestorePlan['revisions']): string {
  const figures = by === undefined ? '' : from === undefined || to === undefined ? ` by ${by}` : ` by ${by}, from ${from} to ${to}`;
  const word = raised === 'no' ? 'not raised' : raised === 'yes' ? `raised${figures}` : `raised${figures}`;
  return raised === 'if-kubernetes' ? `${word}, ${why}` : `${word}: ${why}`;
}

/** Steps that follow each other and differ by their member alone have one number. */
function stepsText(steps: readonly PlanStep[], plan: RestorePlan): string[] {
  const groups: PlanStep[][] = [];
  for (const each of steps) {
    const last = groups.at(-1);
    if (last?.[0]?.name === each.name) last.push(each);
    else groups.push([each]);
  }
  return groups.flatMap((group, index) => groupLines(group, index + 1, plan));
}

function groupLines(group: readonly PlanStep[], number: number, plan: RestorePlan): string[] {
  const [first] = group;
  if (first === undefined) return [];
  const alone = group.length === 1;
  const common = first.notes.filter((note) => group.every(({ notes }) => notes.includes(note)));
  return [
    wrapped(`${number}. ${first.title}${alone ? place(first) : ''}`, INDENT),
    `${INDENT}${wrapped(first.why, INDENT, WIDTH - INDENT.length)}`,
    ...common.flatMap(noteLines),
    ...group.flatMap((each) => [
      ...(alone ? [] : ['', `${INDENT}on ${each.where}`]),
      ...each.notes.filter((note) => !common.includes(note)).flatMap(noteLines),
      ...lined(each.commands),
      ...settingLines(each, plan),
    ]),
    '',
  ];
}

function place({ where }: PlanStep): string {
  return where.startsWith('wherever') ? `, ${where}` : `, on ${where}`;
}

/** What follows a line break is pasted. */
function noteLines(note: string): string[] {
  const [sentence = '', ...verbatim] = note.split('\n');
  return [`${INDENT}${wrapped(`note: ${sentence}`, INDENT, WIDTH - INDENT.length)}`, ...lined(verbatim), ''].slice(
    0,
    verbatim.length === 0 ? 1 : undefined,
  );
}

function lined(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines.map((line) => `    ${printable(line)}`)];
}

/** As flags and as environment: etcd refuses to start when one setting is in both. */
function settingLines({ name, member }: PlanStep, { members, platform }: RestorePlan): string[] {
  const settings = name === 'configure' ? members.find((each) => each.name === member) : undefined;
  if (settings === undefined || platform.name === 'kubeadm') return [];
  const variables = Object.entries(settings.environment).map(([variable, value]) => `${variable}=${value}`);
  return [
    ...lined(settings.flags),
    ...(platform.name === 'systemd'
      ? ['', `${INDENT}or as environment, never both: etcd does not start with a setting in both`, ...lined(variables)]
      : []),
  ];
}

function elsewhere({ members }: RestorePlan): string[] {
  const others = members.filter(({ here }) => here !== true);
  const [reason] = others.flatMap(({ etcdutl }) => (etcdutl.possible ? [] : [etcdutl.reason]));
  if (reason !== undefined)
    return [
      wrapped(
        `A machine without etcd-warden cannot make its member with etcdutl: ${reason}. Make the member where etcd-warden is, and copy its directory.`,
        '',
      ),
      '',
    ];
  const ways = others.flatMap(({ name, host, etcdutl }) => (etcdutl.possible ? [{ name, host, ...etcdutl }] : []));
  const [first] = ways;
  if (first === undefined) return [];
  return [
    'In place of `etcd-warden restore`, for a machine without etcd-warden',
    ...first.notes.flatMap(noteLines),
    ...ways.flatMap(({ name, host, commands }) => ['', `${INDENT}${name} (${host})`, ...lined(commands)]),
    '',
  ];
}

/** Wrapped, with what hangs over indented. */
function wrapped(text: string, indent: string, width = WIDTH): string {
  return wrapText(printable(text), width).replaceAll('\n', `\n${indent}`);
}
