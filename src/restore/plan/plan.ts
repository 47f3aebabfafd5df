/** From what is known before anything is read to everything that has to be done, on every machine. Nothing is looked at here: plain objects in, plain objects out. */
import { initialCluster } from './commands.ts';
import { memberPlans } from './members.ts';
import { gapMs, notInSnapshot, warnings } from './notes.ts';
import { rancherSteps } from './rancher.ts';
import { raisedRevisions } from './revisions.ts';
import { memberSteps } from './steps.ts';
import type { PlanInput, RestorePlan } from './types.ts';

/** The same for the same input, whoever asks and wherever. */
export function planRestore(input: PlanInput): RestorePlan {
  const { source, cluster, platform } = input;
  const own = platform === 'rke2' || platform === 'k3s';
  const members = own ? [] : memberPlans(input);
  const revisions = raisedRevisions(input);
  const { stores, ...facts } = source;
  return {
    source: { ...facts, gapMs: gapMs(input), stores: stores.map(({ name, address, local }) => ({ name, address, local })) },
    attempt: input.attempt,
    token: cluster.token,
    tokenFrom: input.tokenGiven ? 'given' : 'derived',
    clusterId: cluster.clusterId.toString(16),
    initialCluster: initialCluster(input),
    etcd: { minor: input.minor, reason: input.minorReason },
    builder: input.builder,
    platform: { name: platform, reason: input.platformReason },
    revisions,
    warnings: warnings(input),
    members,
    steps: own ? rancherSteps(input, platform, revisions) : memberSteps(input, members, revisions),
    notInSnapshot: notInSnapshot(input),
  };
}
