/** What `compact`, `defrag` and `disarm` share: look, show the plan, ask, do it, tell. The rules are those of the daemon; this file has none of its own. */
import { ERRORS, WardenError, type ErrorCode } from '../errors.ts';
import { maintain, previewMaintenance } from '../jobs/maintain.ts';
import type { JobContext, MaintainRequest } from '../jobs/types.ts';
import type { Plan } from '../maintenance/planner/types.ts';
import type { RoundResult, Sight } from '../maintenance/types.ts';
import { actionText, gatesText, memberName, planJson, planText, stopsOf } from './output/plan.ts';
import { actionJson, roundText } from './output/round.ts';
import { printable, wrapText } from './output/table.ts';
import { chosenCluster } from './selection.ts';
import type { Answer, Invocation } from './verb.ts';

export type HandWish = Exclude<MaintainRequest['wish'], { readonly kind: 'routine' }>;

/** The two jobs behind the verbs; tests put others in their place. */
export interface MaintenanceJobs {
  preview(request: MaintainRequest, context: JobContext): Promise<{ readonly sight: Sight; readonly plan: Plan }>;
  maintain(request: MaintainRequest, context: JobContext): Promise<RoundResult>;
}

/**
 * Nothing is done before somebody said yes, so the plan is made as if he had: what is confirmed is what was shown.
 * @throws WardenError `refused` when nobody said yes, `interrupted`, and whatever the jobs throw
 */
export async function maintainByHand(
  invocation: Invocation,
  wish: HandWish,
  jobs: MaintenanceJobs = { preview: previewMaintenance, maintain },
): Promise<Answer> {
  const { context, loaded, options, output } = invocation;
  const request: MaintainRequest = { cluster: chosenCluster(loaded), wish, elected: false };
  context.progress({ step: 'look', message: `looking at the members of ${request.cluster}` });
  const { sight, plan } = await jobs.preview(request, context);
  const name = request.cluster;
  if (options['dryRun'] === true) return dryRun(request, sight, plan, { width: output.width, yes: options['yes'] === true });
  if (plan.action === undefined) {
    // What bars it may be a lock that only the real thing asks for; but there is nothing to ask anybody for.
    const outcome = plan.complete ? 'nothing' : 'refused';
    return roundAnswer({ cluster: name, outcome, actions: [], plan, failure: undefined }, sight, request, output.width);
  }
  await consent(invocation, request, sight, plan);
  const frozen = freezing(context);
  try {
    return roundAnswer(await jobs.maintain(request, frozen.context), sight, request, output.width);
  } catch (error) {
    if (!context.signal.aborted) throw error;
    throw interrupted(error, context.signal.reason, frozen.member());
  }
}

/** Everything that is known, and nothing is done. A rule that stands in the way of all that was asked for makes it 14. */
function dryRun(
  request: MaintainRequest,
  sight: Sight,
  plan: Plan,
  { width, yes }: { readonly width: number; readonly yes: boolean },
): Answer {
  const { cluster } = request;
  const { state } = sight;
  const outcome = plan.action !== undefined ? 'planned' : plan.complete ? 'nothing' : 'refused';
  const head = {
    planned: plan.noSpace ? 'NOSPACE is armed; this would be done' : 'this would be done',
    nothing: 'nothing to do',
    refused: 'REFUSED',
  }[outcome];
  return {
    exitCode: outcome === 'refused' ? refusalCode(plan) : 0,
    json: {
      cluster,
      clusterId: state.clusterId,
      dryRun: true,
      outcome,
      plan: planJson(plan, state),
      members: state.members.map((member) => ({
        id: member.id,
        name: member.name,
        voter: member.voter,
        reachable: member.reachable,
        leader: member.id === member.leader,
        version: member.version,
        dbSize: member.dbSize,
        dbSizeInUse: member.dbSizeInUse,
        quota: member.quota.bytes ?? null,
        quotaSource: member.quota.source,
        metricsError: member.gaugesError ?? null,
      })),
      notes: sight.notes,
    },
    text: [
      wrapText(`cluster ${cluster} (${state.clusterId}): ${head}`, width),
      ...planText(sight, plan, width),
      ...[...cautions(request, sight, plan), ...noCure(request, sight)].map((line) => wrapText(line, width)),
      ...gatesText(plan, width),
      ...(yes || !plan.gates.some(({ verdict }) => verdict === 'overridden')
        ? []
        : ['', wrapText('what is overridden above is so only with --yes, or a yes at the terminal', width)]),
    ].join('\n'),
  };
}

/** The plan goes to whoever decides. @throws WardenError `refused` unless somebody said yes */
async function consent(
  { options, ask, json, output, context }: Invocation,
  request: MaintainRequest,
  sight: Sight,
  plan: Plan,
): Promise<void> {
  const { state } = sight;
  const yes = options['yes'] === true;
  if (!json && !(yes && options['quiet'] === true)) {
    const more = cautions(request, sight, plan).map((line) => wrapText(line, output.errWidth));
    output.err([...planText(sight, plan, output.errWidth), ...more].join('\n'));
  }
  if (yes) return;
  const first = plan.action === undefined ? '' : actionText(plan.action, state);
  const more = plan.steps.length > 1 ? ` and ${plan.steps.length - 1} more step${plan.steps.length === 2 ? '' : 's'}` : '';
  if (ask === undefined || json) {
    const stops = stopsOf(plan, state);
    throw new WardenError(
      'refused',
      `${first}${more} would be done${stops.length === 0 ? '' : `, and ${stops.join('; ')}`}; nobody is there to say yes`,
      { hint: 'look at --dry-run, then add --yes' },
    );
  }
  const frozen = plan.steps.flatMap(({ action }) => (action.kind === 'defrag' ? [memberName(state, action.member)] : []));
  const stops = stopsOf(plan, state).length > 0 ? 'THE WHOLE CLUSTER STOPS meanwhile, as said above. ' : '';
  const question = frozen.length === 0 ? `${first}${more}?` : `${stops}${first}${more}, freezing ${frozen.join(', then ')}?`;
  const said = await ask(printable(question)).catch((error: unknown) => {
    throw context.signal.aborted ? interrupted(error, context.signal.reason, undefined) : error;
  });
  if (!said) throw new WardenError('refused', 'nobody said yes; nothing was done');
}

/** Whoever defragments a cluster that is out of space means to cure it, and "nothing to do" would be the last thing he should read. */
function noCure({ wish }: MaintainRequest, { state }: Sight): string[] {
  if (wish.kind === 'disarm' || isCure(wish) || !state.alarms.some(({ type }) => type === 'NOSPACE')) return [];
  return [
    'warning: NOSPACE is armed: the cluster accepts no writes, and this does not change it',
    'hint: `etcd-warden defrag --all` is the whole cure: it compacts, defragments every member and disarms',
  ];
}

/** Kubernetes keeps at least five minutes; whoever lists or watches slowly is rarely so far behind. */
const FEW_REVISIONS = 1_000;

/** What a yes should know beyond the plan; members would be frozen in the belief that writes are accepted afterwards, say. */
function cautions({ wish }: MaintainRequest, { state }: Sight, { steps }: Plan): string[] {
  if (wish.kind === 'compact' && wish.keep !== undefined && 'revisions' in wish.keep && wish.keep.revisions < FEW_REVISIONS)
    return [
      `warning: with fewer than ${FEW_REVISIONS} revisions kept, lists that are being paged through and watches that are behind have to start anew`,
    ];
  if (!isCure(wish)) return [];
  if (!state.alarms.some(({ type }) => type === 'NOSPACE'))
    return wish.kind === 'defrag' && wish.degraded
      ? ['note: --degraded changes nothing here: NOSPACE is not armed, and every rule holds']
      : [];
  if (steps.length === 0 || steps.some(({ action }) => action.kind === 'disarm')) return [];
  return ['warning: this does not end with NOSPACE disarmed: `etcd-warden disarm --dry-run` names what stands in the way'];
}

function isCure(wish: MaintainRequest['wish']): boolean {
  return wish.kind === 'defrag' && wish.members === 'all' && !wish.worthwhile;
}

function roundAnswer(result: RoundResult, sight: Sight, request: MaintainRequest, width: number): Answer {
  const { cluster, outcome, actions, plan, failure } = result;
  return {
    exitCode: exitCodeOf(result),
    json: {
      cluster,
      clusterId: sight.state.clusterId,
      dryRun: false,
      outcome,
      actions: actions.map(actionJson),
      plan: planJson(plan, sight.state),
      ...(failure === undefined
        ? {}
        : { failure: { code: failure.code, message: failure.message, ...(failure.hint === undefined ? {} : { hint: failure.hint }) } }),
    },
    text: [roundText(result, width), ...noCure(request, sight).map((line) => wrapText(line, width))].join('\n'),
  };
}

function exitCodeOf({ outcome, plan, failure }: RoundResult): number {
  if (outcome === 'refused') return refusalCode(plan);
  if (outcome !== 'failed') return 0;
  const code = failure?.code ?? 'failed';
  return isCode(code) ? ERRORS[code].exit : ERRORS.failed.exit;
}

function refusalCode({ refusals }: Plan): number {
  return ERRORS[refusals.some(({ rule }) => rule === 'lock-elsewhere') ? 'locked' : 'refused'].exit;
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

/** Remembers whom the work is freezing: etcd finishes a defragmentation whether anybody waits for it or not. */
function freezing(context: JobContext): { readonly context: JobContext; readonly member: () => string | undefined } {
  let member: string | undefined;
  return {
    member: () => member,
    context: {
      ...context,
      progress: (event) => {
        member = event.step === 'defrag' && event.finished !== true ? (event.subject ?? 'a member') : undefined;
        context.progress(event);
      },
    },
  };
}

function interrupted(error: unknown, reason: unknown, member: string | undefined): unknown {
  // The job knows more than its progress tells.
  if (error instanceof WardenError && error.code === 'interrupted' && error !== reason) return error;
  const stopped = reason instanceof Error ? reason.message : 'stopped';
  if (member === undefined)
    return new WardenError('interrupted', `${stopped}; no further step was begun`, {
      hint: 'the same command again looks anew and does what is left',
    });
  return new WardenError(
    'interrupted',
    `${stopped} while ${member} was being defragmented: it may still be frozen, and comes back by itself`,
    {
      hint: '`etcd-warden status` shows when it answers again; defragment nothing before',
    },
  );
}
