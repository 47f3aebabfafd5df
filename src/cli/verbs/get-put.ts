/** `get --put` and `--put-prefix`: keys of a backup go back to a live cluster. */
import { errorDetails, WardenError } from '../../errors.ts';
import { accessOf } from '../../etcd/access.ts';
import { observeCluster } from '../../etcd/cluster.ts';
import { hex } from '../../etcd/ids.ts';
import { KeysClient } from '../../etcd/keys.ts';
import { ownKeys } from '../../etcd/own-keys.ts';
import { displayKey } from '../../inspect/display/text.ts';
import { previewValue } from '../../inspect/display/value.ts';
import { executePut, type Executed } from '../../inspect/put/execute.ts';
import { clusterBar, keysBar, warningsOf } from '../../inspect/put/gate.ts';
import { leaseAfter } from '../../inspect/put/compare.ts';
import { planPut } from '../../inspect/put/plan.ts';
import type { Change, Put, PutPlan } from '../../inspect/put/types.ts';
import { prefixRange } from '../../inspect/range.ts';
import type { KeyDirectory, OpenedSnapshot } from '../../inspect/types.ts';
import { clusterOf } from '../../jobs/stores.ts';
import { keyJson, leaseJson } from '../inspecting.ts';
import { keepWorkingWithoutReader } from '../output/terminal.ts';
import { planText, resultText, type PutStory } from '../output/put.ts';
import { chosenCluster } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export interface PutTask {
  readonly snapshot: OpenedSnapshot;
  readonly directory: KeyDirectory;
  /** A key, or with `prefix` what the keys begin with. */
  readonly key: Buffer;
  readonly prefix: boolean;
  /** The revision whose state is put back. */
  readonly at: bigint;
}

const PREVIEW_CHARACTERS = 60;

/**
 * @throws WardenError `nothing-found` when the backup holds no such key; `refused` when something stands against it, or nobody said yes;
 *   `permission-denied`, `no-space`, `no-quorum` and so on before the first key is written
 */
export async function putKeys(invocation: Invocation, task: PutTask): Promise<Answer> {
  const { options, context, loaded } = invocation;
  const { snapshot } = task;
  const { signal } = context;
  const dryRun = options['dryRun'] === true;
  const permissions = { acceptCluster: options['acceptCluster'] === true, kubernetes: options['kubernetes'] === true };
  const cluster = clusterOf(context.config, chosenCluster(loaded));
  const access = accessOf(cluster);
  context.progress({ step: 'status', message: 'asking the members of the live cluster' });
  const view = await observeCluster(access, { signal, logger: context.logger });
  const bars: WardenError[] = [];
  stopAt(clusterBar(view, snapshot.backup, permissions));

  const client = new KeysClient(access);
  try {
    const plan = await planned(client, invocation, { ...task, own: ownKeys(cluster.keyPrefix) });
    stopAt(keysBar(plan, permissions));
    const story: PutStory = {
      from: snapshot.name,
      clusterId: hex(view.clusterId),
      warnings: [
        ...warningsOf(plan, view, snapshot.backup, options['withLease'] === true),
        ...bars.map((bar) => `it would be refused: ${bar.message}`),
      ],
    };
    if (plan.changes.length === 0) return answer(0, 'nothing-to-do', plan, story, nothingText(plan, story));
    const text = planText(plan, story, invocation.output.width);
    if (dryRun) return answer(0, 'dry-run', plan, story, text);
    const shown = await consent(invocation, plan, text);
    keepWorkingWithoutReader();
    await client.probe(
      plan.changes.map(({ entry }) => entry.key),
      signal,
    );
    const executed = await executePut({
      changes: plan.changes,
      directory: task.directory,
      live: client,
      signal,
      onProgress: (done) => context.progress({ step: 'put', message: `put ${done} of ${plan.changes.length} keys` }),
    });
    return executedAnswer(executed, plan, story, { width: invocation.output.width, shown });
  } finally {
    client.close();
  }

  /** A dry run goes on to the table: it is what somebody looks at before he mends what stands against it. */
  function stopAt(bar: WardenError | undefined): void {
    if (bar === undefined) return;
    if (!dryRun || bar.code !== 'refused') throw bar;
    bars.push(bar);
  }
}

async function planned(
  client: KeysClient,
  { options, context }: Invocation,
  task: PutTask & { readonly own: (key: Buffer) => boolean },
): Promise<PutPlan> {
  const { key, prefix, at, directory, snapshot, own } = task;
  const showSecrets = options['showSecrets'] === true;
  const line = (one: Buffer, value: Buffer): string => previewValue(one, value, { showSecrets, length: PREVIEW_CHARACTERS });
  const plan = await planPut({
    directory,
    live: client,
    range: prefix ? prefixRange(key) : { from: key, to: Buffer.concat([key, Buffer.of(0)]) },
    at,
    withLease: options['withLease'] === true,
    own,
    preview(one, value, live) {
      const next = line(one, value);
      const before = live === undefined ? undefined : line(one, live);
      if (before === undefined) return next;
      return before === next ? `${next} (differs where it is not shown)` : `${before} -> ${next}`;
    },
    onProgress: (compared) =>
      context.progress({ step: 'compare', message: `compared ${compared} key${compared === 1 ? '' : 's'} with the live cluster` }),
    signal: context.signal,
  });
  if (plan.changes.length + plan.same > 0) return plan;
  if (plan.own > 0) {
    throw new WardenError('refused', `${displayKey(key)} is etcd-warden's own: what it says was true when the backup was taken`, {
      hint: 'without it the cluster lacks nothing',
    });
  }
  throw new WardenError(
    'nothing-found',
    `${snapshot.name} holds no key ${prefix ? 'that begins with ' : ''}${displayKey(key)} at revision ${at}`,
    {
      hint: '`etcd-warden keys` shows what it holds; a key that was deleted can be had with --revision',
    },
  );
}

/** @returns whether the plan was shown already. @throws WardenError `refused` */
async function consent({ options, ask, json, output }: Invocation, { changes }: PutPlan, text: string): Promise<boolean> {
  if (options['yes'] === true) return false;
  if (!json) output.err(text);
  if (ask === undefined || json) {
    throw new WardenError('refused', `${count(changes)} would be put, and nobody is there to say yes`, {
      hint: 'look at --dry-run, then add --yes',
    });
  }
  if (!(await ask(`put ${count(changes)}?`))) throw new WardenError('refused', 'nobody said yes; nothing was written');
  return true;
}

function executedAnswer(
  { puts, stopped }: Executed,
  plan: PutPlan,
  story: PutStory,
  options: { readonly width: number; readonly shown: boolean },
): Answer {
  const done = puts.filter(({ outcome }) => outcome === 'put' || outcome === 'already-there').length;
  const none = done === 0 && !puts.some(({ outcome }) => outcome === 'conflict');
  // What ended it tells more than "partial" when nothing came of it.
  const exitCode = done === puts.length ? 0 : stopped !== undefined && (none || stopped.code === 'interrupted') ? stopped.exitCode : 3;
  const ending = stopped === undefined ? [] : [`ended early: ${stopped.message}`];
  return answer(
    exitCode,
    done === puts.length ? 'put' : 'partial',
    plan,
    story,
    [resultText(plan, puts, story, options), ...ending].join('\n'),
    {
      puts,
      stopped,
    },
  );
}

function answer(
  exitCode: number,
  outcome: 'put' | 'partial' | 'dry-run' | 'nothing-to-do',
  plan: PutPlan,
  { from, clusterId, warnings }: PutStory,
  text: string,
  executed?: { readonly puts: readonly Put[]; readonly stopped: WardenError | undefined },
): Answer {
  const changes: readonly Put[] | readonly { readonly change: Change }[] = executed?.puts ?? plan.changes.map((change) => ({ change }));
  return {
    exitCode,
    json: {
      outcome,
      from,
      clusterId,
      same: plan.same,
      changes: changes.map((one) => ({
        ...keyJson(one.change.entry.key),
        change: one.change.kind,
        bytes: one.change.revision.valueBytes,
        revision: String(one.change.revision.main),
        liveBytes: one.change.kind === 'added' ? null : one.change.liveBytes,
        liveRevision: one.change.kind === 'added' ? null : String(one.change.liveModRevision),
        lease: leaseJson(leaseAfter(one.change)),
        outcome: 'outcome' in one ? one.outcome : null,
        reason: 'outcome' in one ? (one.reason ?? null) : null,
      })),
      warnings,
      ...(executed?.stopped === undefined ? {} : { stopped: errorDetails(executed.stopped) }),
    },
    text,
  };
}

function nothingText({ same }: PutPlan, { from, clusterId, warnings }: PutStory): string {
  const equal = same === 1 ? 'the key is' : `all ${same} keys are`;
  return [
    ...warnings.map((warning) => `warning: ${warning}`),
    `nothing to put: ${equal} the same in ${from} and in cluster ${clusterId}`,
  ].join('\n');
}

function count(changes: readonly Change[]): string {
  return `${changes.length} key${changes.length === 1 ? '' : 's'}`;
}
