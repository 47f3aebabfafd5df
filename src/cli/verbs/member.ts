import { camelCase } from '../../config/flags.ts';
import { parseDuration } from '../../config/units.ts';
import { ERRORS, WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import { changeMembers, listMembers, planMemberChange, type MemberPlan, type MemberRequest, type MemberResult } from '../../jobs/member.ts';
import { refusedBy } from '../../member/gates.ts';
import type { StartWith } from '../../member/join.ts';
import { labelOf } from '../../member/words.ts';
import {
  hashesJson,
  memberGateLines,
  memberGatesJson,
  memberGatesText,
  memberListJson,
  membersText,
  startJson,
  startText,
} from '../output/members.ts';
import { printable, wrapText } from '../output/table.ts';
import { chosenCluster } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

/** ms that somebody has to start the new member, unless told. */
const WAIT_MS = 30 * 60_000;

export async function run(invocation: Invocation): Promise<Answer> {
  const [action] = invocation.arguments;
  const { context, loaded, output, options } = invocation;
  requireFitting(action, options);
  if (action === 'list') {
    if (invocation.arguments.length > 1) throw new WardenError('usage', '`member list` takes no name');
    const sight = await listMembers(chosenCluster(loaded), context);
    return { json: memberListJson(sight), text: membersText(sight, output.width) };
  }
  if (action === 'replace') return (await import('./member-replace.ts')).run(invocation);
  const request = requestOf(invocation);
  context.progress({ step: 'look', message: `looking at the members of ${request.cluster}` });
  const plan = await planMemberChange(request, context);
  if (options['dryRun'] === true) return dryRun(request, plan, output.width);
  if (refusedBy(plan.gates).length > 0) return refused(request, plan, output.width);
  await consent(invocation, request, plan);
  const result = await changeMembers(request, context, (start) => tell(invocation, start));
  return answer(request, result, plan, output.width);
}

/** Options that say something to these actions alone. Passed over in silence they would leave the impression that they were heard. */
const FITTING: Readonly<Record<string, readonly string[]>> = {
  'peer-urls': ['add', 'replace'],
  voter: ['add'],
  'no-wait': ['add', 'promote'],
  'start-timeout': ['add', 'replace'],
  unit: ['replace'],
  'environment-file': ['replace'],
  'static-pod': ['replace'],
  'data-dir': ['replace'],
  'data-moved': ['replace'],
  healthy: ['replace'],
  degraded: ['replace'],
};

/** @throws WardenError `usage` */
function requireFitting(action: string | undefined, options: Invocation['options']): void {
  for (const [flag, actions] of Object.entries(FITTING)) {
    const given = flag === 'no-wait' ? options['wait'] === false : options[camelCase(flag)] !== undefined;
    if (given && action !== undefined && !actions.includes(action))
      throw new WardenError('usage', `\`member ${action}\` knows no --${flag}`, {
        hint: `--${flag} goes with ${actions.map((each) => `\`member ${each}\``).join(' and ')}`,
      });
  }
}

function requestOf({ arguments: [action, name], options, loaded }: Invocation): MemberRequest {
  const cluster = chosenCluster(loaded);
  if (name === undefined || name === '') {
    throw new WardenError('usage', `\`member ${action}\` wants to know which member`, {
      hint:
        action === 'add'
          ? 'etcd-warden member add NAME --peer-urls URL'
          : `etcd-warden member ${action} NAME (or its id, as \`member list\` shows it)`,
    });
  }
  const wait = options['wait'] !== false;
  if (action === 'promote') return { cluster, action, member: name, wait };
  if (action === 'remove') return { cluster, action, member: name };
  const peerUrls = options['peerUrls'];
  if (typeof peerUrls !== 'string') {
    throw new WardenError('usage', '`member add` wants to know where the others reach the new member: --peer-urls', {
      hint: `etcd-warden member add ${name} --peer-urls https://10.0.0.4:2380`,
    });
  }
  return { cluster, action: 'add', name, peerUrls, voter: options['voter'] === true, wait, timeoutMs: timeoutOf(options['startTimeout']) };
}

function timeoutOf(text: unknown): number {
  if (text === undefined) return WAIT_MS;
  const ms = typeof text === 'string' ? parseDuration(text) : undefined;
  if (ms === undefined || ms <= 0)
    throw new WardenError('usage', `--start-timeout ${JSON.stringify(text)} is no time`, { hint: 'a time such as 10m or 1h' });
  return ms;
}

/** `add m4`, for sentences. */
function summary(request: MemberRequest, { change, stage, member }: MemberPlan): string {
  const id = member === undefined || member.name === '' ? '' : ` (${hex(member.id)})`;
  if (change.kind !== 'add') return `${change.kind} ${labelOf(change.member)}${id}`;
  if (stage === 'join') return `wait for ${change.name}${id}, which was added before${member?.learner === true ? ', and promote it' : ''}`;
  const then =
    request.action === 'add' && request.wait
      ? change.learner
        ? ', wait until it has caught up, and promote it'
        : ', and wait until it has caught up'
      : '';
  return `add ${change.name} (${change.peerUrls.join(', ')}) as a ${change.learner ? 'learner' : 'voter'}${then}`;
}

function head(request: MemberRequest, plan: MemberPlan, dryRun: boolean): Record<string, unknown> {
  return {
    cluster: request.cluster,
    clusterId: hex(plan.sight.clusterId),
    action: request.action,
    dryRun,
  };
}

/** Everything that is known, and nothing is done; the lock is not asked for. */
function dryRun(request: MemberRequest, plan: MemberPlan, width: number): Answer {
  const outcome = refusedBy(plan.gates).length > 0 ? 'refused' : plan.stage === 'nothing' ? 'nothing' : 'planned';
  const sentence = { refused: 'REFUSED', nothing: 'nothing to do', planned: 'this would be done' }[outcome];
  return {
    exitCode: outcome === 'refused' ? ERRORS.refused.exit : 0,
    json: {
      ...head(request, plan, true),
      outcome,
      member: memberJson(plan.member),
      start: startJson(plan.start),
      gates: memberGatesJson(plan.gates),
      hashes: null,
      members: memberListJson(plan.sight)['members'],
    },
    text: [
      wrapText(
        printable(
          `cluster ${request.cluster} (${hex(plan.sight.clusterId)}): ${sentence}${outcome === 'nothing' ? '' : `: ${summary(request, plan)}`}`,
        ),
        width,
      ),
      ...memberGateLines(plan.gates, ['refused', 'overridden', 'warned'], width),
      ...(plan.start === undefined || outcome === 'refused' ? [] : ['', startText(plan.start)]),
      ...memberGatesText(plan.gates, width),
    ].join('\n'),
  };
}

function refused(request: MemberRequest, plan: MemberPlan, width: number): Answer {
  return {
    exitCode: ERRORS.refused.exit,
    json: {
      ...head(request, plan, false),
      outcome: 'refused',
      member: memberJson(plan.member),
      start: null,
      gates: memberGatesJson(plan.gates),
      hashes: null,
      members: memberListJson(plan.sight)['members'],
    },
    text: [
      wrapText(printable(`cluster ${request.cluster}: REFUSED: ${summary(request, plan)}`), width),
      ...memberGateLines(plan.gates, ['refused'], width),
      wrapText('nothing was changed; --dry-run shows every gate with its verdict', width),
    ].join('\n'),
  };
}

/** What cannot be taken back is asked for: a removal, and whatever goes over a rule. @throws WardenError `refused` unless somebody said yes */
async function consent(invocation: Invocation, request: MemberRequest, plan: MemberPlan): Promise<void> {
  const { options, ask, json, output } = invocation;
  const quiet = options['quiet'] === true;
  if (!quiet && !json) {
    const lines = memberGateLines(plan.gates, ['overridden', 'warned'], output.errWidth);
    if (lines.length > 0) output.err(lines.join('\n'));
  }
  const asks = request.action === 'remove' || plan.gates.some(({ verdict }) => verdict === 'overridden');
  if (!asks || options['yes'] === true || plan.stage === 'nothing') return;
  const what = summary(request, plan);
  const dangers = plan.gates.filter(({ verdict }) => verdict === 'overridden').map(({ message }) => message);
  if (ask === undefined || json) {
    throw new WardenError('refused', `${[what, ...dangers].join('; ')}: nobody is there to say yes`, {
      hint: 'look at --dry-run, then add --yes',
    });
  }
  const question =
    request.action === 'remove'
      ? `${what}? Its id never comes back, and its data directory is of no use afterwards.`
      : `${what}, although ${dangers.join('; ')}?`;
  if (!(await ask(printable(question)))) throw new WardenError('refused', 'nobody said yes; nothing was done');
}

/** Whoever waits has to know what for, also when the answer goes to a program. */
function tell({ output, options }: Invocation, start: StartWith): void {
  if (options['quiet'] !== true) output.err(startText(start));
}

function memberJson(member: Pick<MemberResult['member'], 'id' | 'name' | 'peerUrls' | 'learner'> | undefined): unknown {
  return member === undefined
    ? null
    : { id: hex(member.id), name: member.name || null, peerUrls: member.peerUrls, learner: member.learner };
}

function answer(request: MemberRequest, result: MemberResult, plan: MemberPlan, width: number): Answer {
  const { outcome, member, start, hashes, sight } = result;
  const who = member.name === '' ? hex(member.id) : `${member.name} (${hex(member.id)})`;
  const end = member.name === '' ? 'it was never started' : 'its process ends by itself, its data directory is of no use any more';
  const differ = hashes?.verdict === 'differ';
  const sentences: Record<MemberRequest['action'], string> = {
    add: outcome === 'added' ? `${who} is in the member list as a ${member.learner ? 'learner' : 'voter'}` : `${who} votes`,
    remove: `${who} is removed; ${end}`,
    promote: `${who} votes`,
  };
  const next =
    request.action === 'add' && outcome === 'added'
      ? ['the same command without --no-wait waits until it has caught up' + (member.learner ? ', and promotes it' : '')]
      : request.action === 'remove' && member.name !== ''
        ? ['take its addresses out of --endpoints, `endpoints` and the settings of its clients']
        : [];
  return {
    exitCode: differ ? ERRORS['verification-failed'].exit : 0,
    json: {
      ...head(request, plan, false),
      outcome,
      member: memberJson(member),
      start: startJson(start),
      gates: memberGatesJson(plan.gates),
      hashes: hashesJson(hashes),
      members: memberListJson(sight)['members'],
    },
    text: [
      ...(outcome === 'added' && start !== undefined ? [startText(start), ''] : []),
      wrapText(
        printable(`cluster ${request.cluster}: ${outcome === 'nothing' ? 'nothing to do, ' : ''}${sentences[request.action]}`),
        width,
      ),
      ...(hashes === undefined ? [] : [wrapText(printable(`${differ ? 'PROBLEM: ' : ''}${hashes.message}`), width)]),
      ...next.map((line) => wrapText(line, width)),
      '',
      membersText(sight, width),
    ].join('\n'),
  };
}
