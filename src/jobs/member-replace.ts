/** Bringing a broken member of a cluster back, for the verb. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { accessOf } from '../etcd/access.ts';
import { openCoordination } from '../etcd/coordination.ts';
import { credentialsOf } from '../etcd/credentials.ts';
import { whyNotDial } from '../etcd/endpoint.ts';
import { MemberClient } from '../etcd/member.ts';
import { openUpkeep } from '../etcd/upkeep.ts';
import type { ClusterAccess } from '../etcd/types.ts';
import { compareHashes } from '../member/hashes.ts';
import { symptomsOf, symptomsOfLog, type Evidence } from '../member/replace/diagnose.ts';
import { replaceGates } from '../member/replace/gates.ts';
import { lookAtData, type DataPlace } from '../member/replace/local/data-dir.ts';
import type { Manager } from '../member/replace/local/manager.ts';
import { probePeers } from '../member/replace/local/peer-port.ts';
import { staticPodManager } from '../member/replace/local/static-pod.ts';
import { unitManager } from '../member/replace/local/unit.ts';
import { openNote } from '../member/replace/note.ts';
import { runReplace, type Replaced, type StepDone } from '../member/replace/run.ts';
import { PACE, type Memory, type Pace, type ReplaceSetting, type World } from '../member/replace/setting.ts';
import { nameOf, subjectOf, validNote } from '../member/replace/subject.ts';
import type { ReplaceState, Stray, Symptom } from '../member/replace/types.ts';
import { viewOf } from '../member/replace/view.ts';
import { plannedSteps, type PlannedStep } from '../member/replace/words.ts';
import { lookAtMembers } from '../member/sight.ts';
import type { MemberGate } from '../member/types.ts';
import { labelOf } from '../member/words.ts';
import { detectPlatform } from '../restore/plan/platform.ts';
import type { Platform } from '../restore/types.ts';
import { clusterOf } from './stores.ts';
import type { JobContext } from './types.ts';

export interface ReplaceRequest {
  readonly cluster: string;
  /** Name or hex id. */
  readonly member: string;
  /** Where the others reach it, when it was removed already. */
  readonly peerUrls: readonly string[] | undefined;
  /** Of that member, when it is on this machine; absolute. */
  readonly place: DataPlace | undefined;
  readonly managedBy: { readonly unit: string; readonly environmentFile: string | undefined } | { readonly staticPod: string } | undefined;
  readonly healthy: boolean;
  readonly degraded: boolean;
  readonly dataMoved: boolean;
  /** For people and for the transfer of the data, ms; undefined = an hour. */
  readonly waitMs: number | undefined;
  /** Instead of what is configured, or found. */
  readonly platform: Platform | undefined;
}

/** What there is to know before anything is done. */
export interface ReplacePreview {
  readonly clusterId: bigint;
  /** What it is called, whichever way it was given. */
  readonly member: string;
  readonly memberId: bigint | undefined;
  readonly symptoms: readonly Symptom[];
  readonly gates: readonly MemberGate[];
  readonly steps: readonly PlannedStep[];
  /** RKE2 and k3s, which bring their members back themselves. */
  readonly managedBy: { readonly platform: Platform; readonly reason: string } | undefined;
  /** A run before this one has begun it. */
  readonly underWay: boolean;
  readonly notes: readonly string[];
}

export interface ReplaceTask {
  readonly preview: ReplacePreview;
  /** @throws WardenError what ended it; the same request again goes on from what is seen then */
  run(events: ReplaceEvents): Promise<Replaced & { readonly remarks: readonly string[] }>;
  close(): Promise<void>;
}

export interface ReplaceEvents {
  /** Several lines for whoever operates the machines. */
  readonly tell: (text: string) => void;
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
  readonly onStep: (step: StepDone) => void;
}

/** Backups and maintenance are over in minutes; a step waits for them so long. */
const LOCK_PATIENCE_MS = 10 * 60_000;
const LOCK_POLL_MS = 2_000;

/**
 * Looks, and changes nothing.
 * @param pace how long is waited for what; tests set it. @param root of the files that tell the platform; tests set it
 * @throws WardenError `usage`, `cluster-ids-disagree`, and why nobody could be asked
 */
export async function openReplace(
  request: ReplaceRequest,
  context: JobContext,
  { pace, root }: { readonly pace?: Partial<Pace>; readonly root?: string } = {},
): Promise<ReplaceTask> {
  const cluster = clusterOf(context.config, request.cluster);
  const access = accessOf(cluster);
  const manager = managerOf(request);
  const { signal } = context;
  const memory: Memory = { note: undefined, dataMoved: request.dataMoved, checked: false };
  const look = (inner: AbortSignal): Promise<World> => lookAt(request, { access, manager, memory, now: context.now }, inner);
  const seen = await look(signal);
  const { clusterId } = seen.sight;
  // Note and lock go through those who stay: what the broken one answers, a damaged database say, is not to be believed although it is of this cluster.
  const staying: ClusterAccess = { ...access, endpoints: votersOf(seen, access), discover: false };
  const upkeep = openUpkeep(staying, { keyPrefix: cluster.keyPrefix, clusterId });
  const note = openNote({
    upkeep,
    keyPrefix: cluster.keyPrefix,
    stateDir: context.config.stateDir,
    cluster: cluster.name,
    member: request.member,
    logger: context.logger,
  });
  const locks = lockOf(cluster, staying, clusterId, context);
  try {
    memory.note = await note.read(signal);
    const first = memory.note === undefined ? seen : await look(signal);
    const evidence = await evidenceOf(first, { access, manager, context });
    const gates = ({ state }: World): MemberGate[] =>
      replaceGates(state, {
        healthy: request.healthy,
        degraded: request.degraded,
        clusterName: cluster.name,
        evidence: { ...evidence, cluster: state.cluster, data: state.data },
      });
    const platform = await platformOf(request.platform ?? cluster.restore.platform, signal, root);
    return {
      preview: previewOf(first, { evidence, gates: gates(first), manager, platform, endpoints: votersOf(first, access) }),
      async run(events) {
        const setting: ReplaceSetting = {
          access,
          look,
          gates,
          memory,
          manager,
          place: request.place,
          note,
          lock: locks.with,
          tell: events.tell,
          ask: events.ask,
          context: { signal, progress: context.progress },
          logger: context.logger.child({ cluster: cluster.name }),
          now: context.now,
          pace: { ...PACE, ...(request.waitMs === undefined ? {} : { waitMs: request.waitMs }), ...pace },
        };
        if (platform !== undefined)
          throw new WardenError('refused', `${platform.platform} brings its members back itself (${platform.reason})`);
        const result = await runReplace(setting, events.onStep);
        return { ...result, remarks: [...result.remarks, ...alarmRemarks(result.world, memory, votersOf(result.world, access))] };
      },
      async close() {
        upkeep.close();
        await locks.close();
      },
    };
  } catch (error) {
    upkeep.close();
    await locks.close();
    throw error;
  }
}

function managerOf({ managedBy }: ReplaceRequest): Manager | undefined {
  if (managedBy === undefined) return undefined;
  return 'unit' in managedBy ? unitManager(managedBy.unit, managedBy.environmentFile) : staticPodManager(managedBy.staticPod);
}

interface Looking {
  readonly access: ClusterAccess;
  readonly manager: Manager | undefined;
  readonly memory: Memory;
  readonly now: () => Date;
}

async function lookAt(request: ReplaceRequest, { access, manager, memory, now }: Looking, signal: AbortSignal): Promise<World> {
  const [sight, data, managed] = await Promise.all([
    lookAtMembers({ access, signal }),
    request.place === undefined ? undefined : lookAtData(request.place),
    manager?.running(signal),
  ]);
  const note = validNote(memory.note, request.member, sight.clusterId, now().getTime());
  const strays = note === undefined ? [] : await straysAt(note.clientUrls, access, sight.clusterId, signal);
  const seen = { name: request.member, cluster: viewOf(sight, strays), note, peerUrls: request.peerUrls };
  const { peerUrls = [] } = subjectOf(seen);
  const state: ReplaceState = {
    ...seen,
    data,
    process: {
      peerPort: await probePeers(peerUrls, signal),
      managed: managed === undefined ? undefined : managed ? 'running' : 'stopped',
    },
    dataMoved: memory.dataMoved,
    checked: memory.checked,
  };
  return { state, sight };
}

/** Once it is off the list, nobody else asks at the addresses that it had. Only Status is asked, and only where that may be dialled at all. */
async function straysAt(urls: readonly string[], access: ClusterAccess, clusterId: bigint, signal: AbortSignal): Promise<Stray[]> {
  const credentials = credentialsOf(access);
  const found = await Promise.all(
    urls.map(async (url): Promise<Stray[]> => {
      let client: MemberClient | undefined;
      try {
        if (whyNotDial(credentials.parse(url), credentials.endpoints) !== undefined) return [];
        client = new MemberClient(access, url);
        const status = await client.status(signal);
        return status.clusterId === clusterId
          ? []
          : [{ endpoint: client.endpoint, clusterId: status.clusterId, memberId: status.memberId }];
      } catch {
        return []; // silence is what is hoped for
      } finally {
        client?.close();
      }
    }),
  );
  return found.flat();
}

/** Read once: a log of yesterday says nothing new, and a hash holds its member up. */
async function evidenceOf(
  { state, sight }: World,
  { access, manager, context }: { readonly access: ClusterAccess; readonly manager: Manager | undefined; readonly context: JobContext },
): Promise<Omit<Evidence, 'cluster' | 'data'>> {
  const lines = subjectOf(state).old === undefined ? [] : ((await manager?.log(context.signal)) ?? []);
  const log = symptomsOfLog(lines);
  // What cannot be read is told when the member is to be started.
  const managed = await manager?.config(context.signal).catch(() => undefined);
  if (!state.cluster.alarms.some(({ type }) => type === 'CORRUPT')) return { log, managed, differing: undefined };
  const { members } = await compareHashes(sight, { access, context: { signal: context.signal, progress: context.progress } });
  const byHash = Map.groupBy(
    members.filter(({ hash }) => hash !== undefined),
    ({ hash, compactRevision }) => `${hash} ${compactRevision}`,
  );
  const most = [...byHash.values()].toSorted((a, b) => b.length - a.length)[0] ?? [];
  if (most.length * 2 <= state.cluster.members.filter(({ learner }) => !learner).length) return { log, managed, differing: undefined };
  const others = members.filter((one) => one.hash !== undefined && !most.includes(one)).map(({ member }) => member);
  return { log, managed, differing: sight.members.filter((member) => others.includes(labelOf(member))).map(({ id }) => id) };
}

/** Said in the configuration or with --platform, else by what this machine has. */
async function platformOf(given: Platform | 'auto', signal: AbortSignal, root: string | undefined): Promise<ReplacePreview['managedBy']> {
  const { platform, reason } =
    given === 'auto' ? await detectPlatform(signal, root) : { platform: given, reason: '--platform or `restore.platform` says so' };
  return platform === 'rke2' || platform === 'k3s' ? { platform, reason } : undefined;
}

interface PreviewParts {
  readonly evidence: Omit<Evidence, 'cluster' | 'data'>;
  readonly gates: readonly MemberGate[];
  readonly manager: Manager | undefined;
  readonly platform: ReplacePreview['managedBy'];
  readonly endpoints: readonly string[];
}

function previewOf({ state, sight }: World, { evidence, gates, manager, platform, endpoints }: PreviewParts): ReplacePreview {
  const { old, fresh } = subjectOf(state);
  return {
    clusterId: sight.clusterId,
    member: nameOf(state),
    memberId: (old ?? fresh)?.id,
    symptoms: old === undefined ? [] : symptomsOf(old, { ...evidence, cluster: state.cluster, data: state.data }),
    gates,
    steps: plannedSteps(state, {
      endpoints,
      manager: manager === undefined ? undefined : { name: manager.name, ...manager.commands },
      dataDir: state.data?.dataDir,
    }),
    managedBy: platform,
    underWay: old === undefined && (state.note !== undefined || fresh !== undefined),
    notes: sight.notes,
  };
}

/** For commands: whoever takes part in the majority, never the one that is replaced. */
function votersOf({ state }: World, access: ClusterAccess): readonly string[] {
  const { old, fresh } = subjectOf(state);
  const found = state.cluster.members.flatMap((member) =>
    member === old || member === fresh || !member.answers || member.learner || member.endpoint === undefined ? [] : [member.endpoint],
  );
  return found.length === 0 ? access.endpoints : found;
}

/** CORRUPT is for people to take back: only they can know that the data that is left is the right one. */
function alarmRemarks({ state }: World, { note }: Memory, endpoints: readonly string[]): string[] {
  const { alarms, members } = state.cluster;
  const gone = (id: bigint): boolean => id === note?.oldId || (id !== 0n && !members.some((member) => member.id === id));
  const corrupt = alarms.filter(({ type, memberId }) => type === 'CORRUPT' && (gone(memberId) || memberId === 0n));
  const noSpace = alarms.filter(({ type, memberId }) => type === 'NOSPACE' && gone(memberId));
  return [
    ...(corrupt.length === 0
      ? []
      : [
          `warning: CORRUPT of the removed member is still armed, and etcd refuses writes because of it. All members have one hash now; when you know that their data is the right one: etcdctl --endpoints=${endpoints.join(',')} alarm disarm. This is never done by etcd-warden: an alarm that is disarmed too early lets clients read wrong data`,
        ]),
    ...(noSpace.length === 0 ? [] : ['warning: NOSPACE of the removed member is still armed: `etcd-warden disarm` takes it back']),
  ];
}

interface Locks {
  readonly with: <T>(purpose: string, work: () => Promise<T>) => Promise<T>;
  close(): Promise<void>;
}

/**
 * The lock of the cluster, for single steps only: people may take hours to start a member, and backups go on meanwhile. Where no lease can be had, because NOSPACE or
 * CORRUPT is armed, a step goes on without when no daemon is elected that might be curing just now.
 */
function lockOf(cluster: ClusterConfig, access: ClusterAccess, clusterId: bigint, { signal, logger, progress }: JobContext): Locks {
  const coordination = cluster.coordinate ? openCoordination(access, { keyPrefix: cluster.keyPrefix, clusterId, logger }) : undefined;
  async function take(purpose: string): Promise<{ release(): Promise<void> } | undefined> {
    if (coordination === undefined) return undefined;
    const giveUpMs = performance.now() + LOCK_PATIENCE_MS;
    for (;;) {
      const result = await coordination.lock(purpose, signal);
      if (result.outcome === 'held') return result.lock;
      if (result.outcome === 'unavailable') {
        if (result.code === 'permission-denied')
          throw new WardenError('permission-denied', `the lock of this cluster cannot be had: ${result.reason}`, {
            hint: 'membership needs a user with the root role',
          });
        const elected = await coordination.elected(signal).catch(() => undefined);
        if (elected !== undefined && result.code === 'no-space') {
          throw new WardenError('locked', `NOSPACE is armed, so no lock can be had, and a daemon is elected for this cluster: ${elected}`, {
            hint: 'that daemon may be curing it just now; stop it, and run the same command again',
          });
        }
        logger.warn({ cluster: cluster.name, reason: result.reason }, 'going on without the lock of the cluster');
        return undefined;
      }
      if (performance.now() > giveUpMs) {
        throw new WardenError('locked', `another process holds the lock of this cluster: ${result.holder}`, {
          hint: 'the same command goes on when it is done',
        });
      }
      progress({ step: 'lock', message: `waiting for the lock of the cluster, which ${result.holder} holds` });
      await sleep(LOCK_POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
  return {
    async with(purpose, work) {
      const lock = await take(purpose);
      try {
        return await work();
      } finally {
        await lock?.release().catch((error: unknown) => logger.warn({ err: error }, 'the lock was not released; it ends with its lease'));
      }
    },
    close: async () => coordination?.close(),
  };
}
