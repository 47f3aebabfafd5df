/** Carrying out one step. Each may be interrupted anywhere: what comes next is derived from what is seen then. */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatDurationShort } from '../../config/units.ts';
import { crashPoint } from '../../crash-points.ts';
import { asError, WardenError } from '../../errors.ts';
import { interruption } from '../../etcd/call-errors.ts';
import { hex } from '../../etcd/ids.ts';
import { addMember, promoteMember, removeMember } from '../change.ts';
import { handOver } from '../handover.ts';
import { compareHashes } from '../hashes.ts';
import { joinedState, startWith, type StartWith } from '../join.ts';
import { symptomsOfLog } from './diagnose.ts';
import { moveData } from './local/data-dir.ts';
import { faultsOf } from './manifest/start-config.ts';
import { nextStep, runs } from './next.ts';
import { refuse } from './refuse.ts';
import type { ReplaceSetting, World } from './setting.ts';
import { nameOf, subjectOf } from './subject.ts';
import type { SeenMember, Step } from './types.ts';
import { startText } from './words.ts';

/** A learner that etcd calls behind may be so for a moment while others write. */
const PROMOTE_PATIENCE_MS = 120_000;

/** @returns what is worth telling of it. @throws WardenError */
export async function carryOut(step: Exclude<Step, { kind: 'done' }>, world: World, setting: ReplaceSetting): Promise<string[]> {
  const name = nameOf(world.state);
  switch (step.kind) {
    case 'move-leader':
      return moveLeader(step, world, setting);
    case 'remove':
      return remove(step.member, world, setting);
    case 'stop':
      return stop(step, name, setting);
    case 'move-data':
      return moveAway(step, name, setting);
    case 'add':
      return add(step, name, setting);
    case 'start':
      return start(step, name, world, setting);
    case 'catch-up':
      return untilItChanges(step, name, setting, setting.pace.waitMs, (now) => {
        const member = now.sight.members.find(({ id }) => id === step.member.id);
        return joinedState(name, member).sentence;
      });
    case 'promote':
      await setting.lock(`promotion of ${name}`, () =>
        promoteMember(world.sight, step.member.id, { access: setting.access, context: setting.context, patienceMs: PROMOTE_PATIENCE_MS }),
      );
      crashPoint('after-promote');
      return [];
    case 'check':
      return check(step.member, name, world, setting);
  }
}

async function moveLeader(step: Extract<Step, { kind: 'move-leader' }>, world: World, setting: ReplaceSetting): Promise<string[]> {
  const member = world.sight.members.find(({ id }) => id === step.from.id);
  if (member !== undefined) await handOver(world.sight, member, { access: setting.access, context: setting.context });
  return [];
}

/** The note first: after the removal nothing in the cluster tells where the member was reached. */
async function remove(member: SeenMember, { state }: World, setting: ReplaceSetting): Promise<string[]> {
  const { access, context, memory, note } = setting;
  const { signal } = context;
  memory.note = {
    name: nameOf(state),
    clusterId: state.cluster.clusterId,
    oldId: member.id,
    peerUrls: member.peerUrls,
    clientUrls: member.clientUrls,
    learner: member.learner,
    since: setting.now().toISOString(),
  };
  const where = await note.write(memory.note, signal);
  crashPoint('after-note');
  await setting.lock(`removal of ${memory.note.name}`, async () => {
    // The lock may have taken a while.
    const now = await setting.look(signal);
    refuse(setting.gates(now));
    if (nextStep(now.state)?.kind !== 'remove') return;
    await removeMember(now.sight, member.id, { access, context });
  });
  crashPoint('after-remove');
  if (where.includes('etcd')) return [];
  return [
    `to go on from another machine after an interruption, add --peer-urls ${member.peerUrls.join(',')}: etcd takes no note of it now`,
  ];
}

async function stop(step: Step, name: string, setting: ReplaceSetting): Promise<string[]> {
  const { manager, pace, context, place } = setting;
  if (manager === undefined) {
    const data = place === undefined ? '' : ` and move ${place.dataDir} to another name`;
    setting.tell(
      [
        `on the machine of ${name}: stop its etcd, so that nothing starts it again${data}. For example:`,
        '',
        '  systemctl stop etcd',
        '  mv /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/     # a static pod',
        `  mv ${place?.dataDir ?? '/var/lib/etcd'} ${place?.dataDir ?? '/var/lib/etcd'}.replaced-$(date -u +%Y%m%dT%H%M%SZ)`,
      ].join('\n'),
    );
    return untilItChanges(step, name, setting, pace.waitMs, () => `waiting until etcd of ${name} is stopped`);
  }
  context.progress({ step: 'stop', subject: name, message: `stopping ${manager.name}` });
  await manager.stop(context.signal);
  const giveUpMs = performance.now() + pace.stopMs;
  for (;;) {
    const now = await setting.look(context.signal);
    if (!runs(now.state)) break;
    if (performance.now() > giveUpMs) {
      throw new WardenError('surprise', `${manager.name} was stopped, and ${whatRuns(now)} ${Math.round(pace.stopMs / 1000)} s later`, {
        hint: 'find out which process that is (ss -ltnp, fuser); the same command again goes on',
      });
    }
    await wait(pace.pollMs, context.signal, name);
  }
  crashPoint('after-stop');
  return [`${manager.name} was stopped`];
}

function whatRuns({ state }: World): string {
  if (state.data?.inUse === true) return `a process still has the database in ${state.data.dataDir} open`;
  return state.process.peerPort === 'open' ? 'somebody still listens at its peer address' : 'it still runs';
}

async function moveAway(step: Step, name: string, setting: ReplaceSetting): Promise<string[]> {
  const { manager, place, memory, pace } = setting;
  if (place !== undefined && manager !== undefined) {
    const stamp = stampOf(setting.now());
    const moved = await moveData(place, stamp, setting.context.signal);
    crashPoint('after-move-data');
    return moved.map((path) => `the old data is in ${path}`);
  }
  if (place !== undefined) {
    setting.tell(
      [`move the old data of ${name} away, and delete nothing:`, '', ...[place.dataDir, place.walDir].flatMap((path) => mvLine(path))].join(
        '\n',
      ),
    );
    return untilItChanges(step, name, setting, pace.waitMs, () => `waiting until ${place.dataDir} holds no data`);
  }
  const question = `has etcd of ${name} been stopped on its machine for good, and has its old data been moved away?`;
  if (setting.ask === undefined || !(await setting.ask(question))) {
    throw new WardenError(
      'refused',
      `${name} is out of the cluster; its data directory is not on this machine, and nobody said that its old data is out of the way`,
      {
        hint:
          'on its machine: stop etcd, `mv DATA_DIR DATA_DIR.replaced-$(date -u +%Y%m%dT%H%M%SZ)` (the WAL directory too), then the same command with --data-moved; ' +
          'or run it there with --data-dir and --unit or --static-pod',
      },
    );
  }
  memory.dataMoved = true;
  return [];
}

function mvLine(path: string | undefined): string[] {
  return path === undefined ? [] : [`  mv ${path} ${path}.replaced-$(date -u +%Y%m%dT%H%M%SZ)`];
}

async function add(step: Extract<Step, { kind: 'add' }>, name: string, setting: ReplaceSetting): Promise<string[]> {
  const { access, context } = setting;
  await setting.lock(`addition of ${name}`, async () => {
    const now = await setting.look(context.signal);
    refuse(setting.gates(now));
    if (nextStep(now.state)?.kind !== 'add') return;
    const { peerUrls } = step;
    await addMember(now.sight, { peerUrls, learner: step.as === 'learner' }, { access, context });
  });
  crashPoint('after-add');
  return [];
}

async function start(step: Extract<Step, { kind: 'start' }>, name: string, world: World, setting: ReplaceSetting): Promise<string[]> {
  const { manager, pace, context } = setting;
  const joined = startWith(name, step.member.id, world.sight.members);
  if (manager === undefined) {
    setting.tell(startText(joined));
    return untilItChanges(step, name, setting, pace.waitMs, () => `waiting until etcd of ${name} is started`);
  }
  const told: string[] = [];
  const running = await manager.running(context.signal);
  const astray = running && world.state.data?.data === 'none' && faultsOf(await manager.config(context.signal), joined).length > 0;
  // systemd, or somebody, has started it too early: it ends again and again, and never joins.
  if (astray) await manager.stop(context.signal);
  if (astray || !running) {
    const edit = await manager.setExisting(stampOf(setting.now()), context.signal);
    crashPoint('after-edit');
    if (edit !== undefined) told.push(`line ${edit.line} of ${edit.path} is now ${edit.after?.trim()}; what it was is in ${edit.copy}`);
    await untilConfigured(joined, name, setting);
    context.progress({ step: 'start', subject: name, message: `starting ${manager.name}` });
    await manager.start(context.signal);
    crashPoint('after-start');
  }
  return [...told, ...(await untilItChanges(step, name, setting, pace.waitMs, () => `waiting until ${name} joins`, manager.name))];
}

/** Started with other settings it would form a cluster of its own, or end at once: so it is not. */
async function untilConfigured(joined: StartWith, name: string, setting: ReplaceSetting): Promise<void> {
  const { manager, context, pace } = setting;
  if (manager === undefined) return;
  const giveUpMs = performance.now() + pace.waitMs;
  let told = '';
  for (;;) {
    const faults = await manager.config(context.signal).then(
      (config) => faultsOf(config, joined),
      (error: unknown) => [asError(error).message],
    );
    context.signal.throwIfAborted();
    if (faults.length === 0) return;
    const text = faults.join('\n');
    if (text !== told)
      setting.tell(`${name} is not started before this is changed (only initial-cluster-state is ever changed here):\n\n${text}`);
    told = text;
    if (performance.now() > giveUpMs)
      throw new WardenError('refused', `${name} is not started: ${faults.join('; ')}`, {
        hint: 'change it, and run the same command again',
      });
    context.progress({ step: 'start', subject: name, message: `waiting until the settings of ${name} are right` });
    await wait(pace.pollMs, context.signal, name);
  }
}

async function check(member: SeenMember, name: string, { sight, state }: World, setting: ReplaceSetting): Promise<string[]> {
  const { access, context, memory } = setting;
  const result = await setting.lock(`comparison of ${name} with the other members`, () => compareHashes(sight, { access, context }));
  if (result.verdict === 'differ') {
    throw new WardenError('surprise', `${name} is back, and the members do not have the same data: ${result.message}`, {
      hint: '`etcd-warden status` shows the alarms; find out whose data is right before anything else',
    });
  }
  memory.checked = true;
  const clientUrls = sight.members.find(({ id }) => id === member.id)?.clientUrls ?? [];
  const before = subjectOf(state).clientUrls;
  return [
    ...(result.verdict === 'unclear' ? [`warning: ${result.message}`] : [result.message]),
    ...(clientUrls.length === 0
      ? [`warning: ${name} (${hex(member.id)}) advertises no client URL: clients cannot find it (--advertise-client-urls)`]
      : []),
    ...(clientUrls.length > 0 && before.length > 0 && before.toSorted().join() !== clientUrls.toSorted().join()
      ? [`warning: ${name} advertised ${before.join(', ')} to clients before, and ${clientUrls.join(', ')} now`]
      : []),
  ];
}

/**
 * Looks again and again until something else is to be done.
 * @param managed name of the unit or pod that runs it: when it does not any more, waiting is over
 * @throws WardenError `timeout`, `interrupted`, `surprise` when the process ended
 */
async function untilItChanges(
  step: Step,
  name: string,
  setting: ReplaceSetting,
  limitMs: number,
  sentence: (world: World) => string,
  managed?: string,
): Promise<string[]> {
  const { context, pace } = setting;
  const giveUpMs = performance.now() + limitMs;
  let last = sentenceSafely();
  function sentenceSafely(world?: World): string {
    return world === undefined ? `waiting for ${name}` : sentence(world);
  }
  for (;;) {
    let failure: string | undefined;
    const world = await setting.look(context.signal).catch((error: unknown) => {
      failure = asError(error).message; // the cluster may hold an election just now
      return undefined;
    });
    if (context.signal.aborted) throw interruption(context.signal, `waiting for ${name}`);
    if (world !== undefined) {
      const next = nextStep(world.state);
      if (next === undefined || keyOf(next) !== keyOf(step)) return [];
      last = sentenceSafely(world);
      if (managed !== undefined && world.state.process.managed === 'stopped') throw await ended(managed, name, setting);
    }
    if (performance.now() > giveUpMs) {
      throw new WardenError('timeout', `${last}: not in ${formatDurationShort(limitMs)}${failure === undefined ? '' : ` (${failure})`}`, {
        hint: 'the same command again goes on from there',
      });
    }
    context.progress({ step: step.kind, subject: name, message: failure === undefined ? last : `${last} (${failure})` });
    await wait(pace.pollMs, context.signal, name);
  }
}

async function ended(managed: string, name: string, { manager, context }: ReplaceSetting): Promise<WardenError> {
  const symptoms = symptomsOfLog((await manager?.log(context.signal)) ?? []);
  const why = symptoms.map(({ message }) => message).join('; ');
  return new WardenError('surprise', `${managed} ended before ${name} had joined${why === '' ? '' : `: ${why}`}`, {
    hint: 'its log tells more; the same command again starts it once more',
  });
}

function keyOf(step: Step): string {
  return 'member' in step ? `${step.kind} ${step.member.id}` : step.kind;
}

/** @throws WardenError `interrupted` */
async function wait(ms: number, signal: AbortSignal, name: string): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
  if (signal.aborted) throw interruption(signal, `waiting for ${name}`);
}

/** `20261123T010203Z` */
export function stampOf(date: Date): string {
  return date.toISOString().replace(/[-:]|\.\d+/g, '');
}
