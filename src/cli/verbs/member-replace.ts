/** `member replace NAME`: look, show the plan, ask, and go on step by step. */
import { resolve } from 'node:path';
import { parseDuration } from '../../config/units.ts';
import { ERRORS, WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import { parsePeerUrls } from '../../etcd/peer-urls.ts';
import { openReplace, type ReplacePreview, type ReplaceRequest } from '../../jobs/member-replace.ts';
import { refusedBy } from '../../member/gates.ts';
import { rancherProcedure } from '../../member/replace/rancher.ts';
import type { Replaced, StepDone } from '../../member/replace/run.ts';
import { PLATFORMS } from '../../restore/types.ts';
import { memberGateLines, memberGatesJson, memberGatesText } from '../output/members.ts';
import { printable, wrapText } from '../output/table.ts';
import { chosenCluster } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

type Outcome = 'planned' | 'refused' | 'by-hand' | 'done';

export async function run(invocation: Invocation): Promise<Answer> {
  const request = requestOf(invocation);
  const { context, options, output } = invocation;
  context.progress({ step: 'look', message: `looking at the members of ${request.cluster}` });
  const task = await openReplace(request, context);
  try {
    const { preview } = task;
    if (preview.managedBy !== undefined) return byHand(request, preview, output.width);
    const outcome = refusedBy(preview.gates).length > 0 ? 'refused' : 'planned';
    const dryRun = options['dryRun'] === true;
    if (dryRun || outcome === 'refused') return planAnswer(request, preview, { outcome, dryRun, width: output.width });
    await consent(invocation, request, preview);
    const done: StepDone[] = [];
    const result = await task
      .run({
        tell: (text) => output.err(printableLines(text)),
        // Whether data was moved is a question of fact, which --yes does not answer.
        ask: invocation.json ? undefined : invocation.ask,
        onStep: (step) => done.push(step),
      })
      .catch((error: unknown) => {
        // What was done stays done, whatever came then; a terminal has been told of each step already.
        if (!invocation.json && !output.live) for (const { message } of done) output.err(wrapText(printable(message), output.errWidth));
        throw error;
      });
    return doneAnswer(request, preview, result, output.width);
  } finally {
    await task.close();
  }
}

function requestOf({ arguments: [, name], options, loaded }: Invocation): ReplaceRequest {
  if (name === undefined || name === '') {
    throw new WardenError('usage', '`member replace` wants to know which member', {
      hint: 'etcd-warden member replace NAME (or its id, as `member list` shows it)',
    });
  }
  const text = (key: string): string | undefined => (typeof options[key] === 'string' ? options[key] : undefined);
  const path = (key: string): string | undefined => {
    const given = text(key);
    return given === undefined ? undefined : resolve(given);
  };
  const [unit, staticPod, dataDir, walDir, peerUrls] = [text('unit'), path('staticPod'), path('dataDir'), path('walDir'), text('peerUrls')];
  if (unit !== undefined && staticPod !== undefined)
    throw new WardenError('usage', 'an etcd is run by a unit or by a static pod: give one of --unit and --static-pod');
  if ((unit !== undefined || staticPod !== undefined) && dataDir === undefined) {
    throw new WardenError('usage', '--unit and --static-pod want to know where the data of that member is: --data-dir', {
      hint: 'and --wal-dir, where etcd runs with one',
    });
  }
  if (walDir !== undefined && dataDir === undefined) throw new WardenError('usage', '--wal-dir wants --data-dir beside it');
  if (text('environmentFile') !== undefined && unit === undefined) throw new WardenError('usage', '--environment-file is that of a --unit');
  return {
    cluster: chosenCluster(loaded),
    member: name,
    peerUrls: peerUrls === undefined ? undefined : parsePeerUrls(peerUrls, name),
    place: dataDir === undefined ? undefined : { dataDir, walDir },
    managedBy:
      unit !== undefined ? { unit, environmentFile: path('environmentFile') } : staticPod !== undefined ? { staticPod } : undefined,
    healthy: options['healthy'] === true,
    degraded: options['degraded'] === true,
    dataMoved: options['dataMoved'] === true,
    waitMs: waitOf(text('startTimeout')),
    platform: platformOf(text('platform')),
  };
}

function platformOf(given: string | undefined): ReplaceRequest['platform'] {
  const platform = given === 'auto' ? undefined : PLATFORMS.find((one) => one === given);
  if (platform !== undefined || given === undefined || given === 'auto') return platform;
  throw new WardenError('usage', `--platform ${JSON.stringify(given)} is not known`, { hint: `auto, ${PLATFORMS.join(', ')}` });
}

function waitOf(text: string | undefined): number | undefined {
  const ms = text === undefined ? undefined : parseDuration(text);
  if (text !== undefined && (ms === undefined || ms <= 0))
    throw new WardenError('usage', `--start-timeout ${JSON.stringify(text)} is no time`, { hint: 'a time such as 10m or 1h' });
  return ms;
}

/** The plan goes to whoever decides. @throws WardenError `refused` unless somebody said yes */
async function consent({ options, ask, json, output }: Invocation, request: ReplaceRequest, preview: ReplacePreview): Promise<void> {
  const yes = options['yes'] === true;
  if (!json && !(yes && options['quiet'] === true)) output.err(planLines(request, preview, output.errWidth).join('\n'));
  if (yes) return;
  const what = preview.underWay ? `go on replacing ${preview.member}` : `replace ${preview.member}${idOf(preview)}`;
  if (ask === undefined || json) {
    throw new WardenError('refused', `${what}: nobody is there to say yes`, { hint: 'look at --dry-run, then add --yes' });
  }
  const question = preview.underWay ? `${what}?` : `${what}? Its id never comes back; nothing of its data is deleted.`;
  if (!(await ask(printable(question)))) throw new WardenError('refused', 'nobody said yes; nothing was done');
}

function planLines(request: ReplaceRequest, preview: ReplacePreview, width: number): string[] {
  const { member, clusterId, symptoms, gates, steps, underWay } = preview;
  const head = `cluster ${request.cluster} (${hex(clusterId)}): ${underWay ? 'go on replacing' : 'replace'} ${member}${idOf(preview)}`;
  return [
    wrapText(printable(head), width),
    ...symptoms.map(({ code, message }) => wrapText(printable(`broken (${code}): ${message}`), width)),
    ...memberGateLines(gates, ['refused', 'overridden', 'warned'], width),
    ...(refusedBy(gates).length > 0
      ? []
      : steps.flatMap(({ by, what, command }, index) => [
          wrapText(printable(`${index + 1}. ${by === 'operator' ? 'you: ' : ''}${what}`), width),
          // A command is never wrapped: it is there to be pasted.
          ...(command === undefined ? [] : [`     ${printable(command)}`]),
        ])),
  ];
}

function idOf({ memberId }: ReplacePreview): string {
  return memberId === undefined ? '' : ` (${hex(memberId)})`;
}

function json(
  request: ReplaceRequest,
  preview: ReplacePreview,
  outcome: Outcome,
  dryRun: boolean,
  result?: Replaced,
): Record<string, unknown> {
  const { clusterId, member, memberId, symptoms, gates, steps, managedBy } = preview;
  return {
    cluster: request.cluster,
    clusterId: hex(clusterId),
    action: 'replace',
    dryRun,
    outcome,
    member: { name: member, id: memberId === undefined ? null : hex(memberId) },
    underWay: preview.underWay,
    symptoms,
    gates: memberGatesJson(gates),
    platform: managedBy?.platform ?? null,
    plan:
      outcome === 'refused' || outcome === 'by-hand'
        ? []
        : steps.map(({ step, by, what, command }) => ({ step, by, what, command: command ?? null })),
    steps: result?.steps ?? [],
    remarks: result?.remarks ?? [],
  };
}

function planAnswer(
  request: ReplaceRequest,
  preview: ReplacePreview,
  { outcome, dryRun, width }: { readonly outcome: 'planned' | 'refused'; readonly dryRun: boolean; readonly width: number },
): Answer {
  const { gates } = preview;
  return {
    exitCode: outcome === 'refused' ? ERRORS.refused.exit : 0,
    json: json(request, preview, outcome, dryRun),
    text: [
      ...planLines(request, preview, width),
      ...(outcome === 'refused' ? [wrapText('REFUSED: nothing was changed', width)] : []),
      ...(dryRun ? memberGatesText(gates, width) : []),
    ].join('\n'),
  };
}

/** Nothing was done, and a script must not take it for a replacement. */
function byHand(request: ReplaceRequest, preview: ReplacePreview, width: number): Answer {
  const platform = preview.managedBy?.platform === 'k3s' ? 'k3s' : 'rke2';
  const procedure = rancherProcedure(platform, preview.member);
  return {
    exitCode: ERRORS.refused.exit,
    json: { ...json(request, preview, 'by-hand', false), procedure },
    text: [wrapText(`${preview.managedBy?.reason}: this is a machine of ${platform}`, width), printableLines(procedure)].join('\n'),
  };
}

function doneAnswer(request: ReplaceRequest, preview: ReplacePreview, result: Replaced, width: number): Answer {
  return {
    json: json(request, preview, 'done', false, result),
    text: [
      ...result.steps.map(({ message }) => wrapText(printable(message), width)),
      wrapText(printable(`cluster ${request.cluster}: ${preview.member} is back`), width),
      // A remark that was part of a step has been told there.
      ...result.remarks
        .filter((remark) => !result.steps.some(({ message }) => message.includes(remark)))
        .map((line) => wrapText(printable(line), width)),
    ].join('\n'),
  };
}

/** Each line of its own; what looks like a control character in a name never reaches the terminal. */
function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}
