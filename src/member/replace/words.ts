/** The steps of a replacement as people read them: what is done, by which command, and by whom. Pure. */
import { hex } from '../../etcd/ids.ts';
import type { StartWith } from '../join.ts';
import { joiningOf, nextStep } from './next.ts';
import { labelOf, nameOf, subjectOf } from './subject.ts';
import type { ReplaceState, Step, StepKind } from './types.ts';

/** Who does it: this program, or whoever operates that machine. */
export interface PlannedStep {
  readonly step: StepKind;
  readonly by: 'etcd-warden' | 'operator';
  readonly what: string;
  /** The same by hand; undefined = there is no single command. */
  readonly command: string | undefined;
}

export interface PlanSetting {
  readonly endpoints: readonly string[];
  /** Of the unit or static pod, when it was named. */
  readonly manager: { readonly name: string; readonly stop: string; readonly start: string } | undefined;
  /** The data directory, when it is on this machine. */
  readonly dataDir: string | undefined;
}

const ORDER: readonly StepKind[] = ['move-leader', 'remove', 'stop', 'move-data', 'add', 'start', 'catch-up', 'promote', 'check'];

/** Everything that is left to do, as far as it can be foreseen. */
export function plannedSteps(state: ReplaceState, setting: PlanSetting): PlannedStep[] {
  const first = nextStep(state);
  if (first === undefined || first.kind === 'done') return [];
  const subject = subjectOf(state);
  const promotes = !subject.learner && (subject.fresh?.learner ?? joiningOf(state, subject).as === 'learner');
  const left = ORDER.slice(ORDER.indexOf(first.kind)).filter((kind) => kind !== 'promote' || promotes);
  return left.map((kind) => planned(kind, state, setting));
}

function planned(kind: StepKind, state: ReplaceState, setting: PlanSetting): PlannedStep {
  const { manager, dataDir } = setting;
  const subject = subjectOf(state);
  const { old, fresh } = subject;
  const name = nameOf(state);
  const etcdctl = `etcdctl --endpoints=${setting.endpoints.join(',')}`;
  const here = manager !== undefined;
  const first = nextStep(state);
  switch (kind) {
    case 'move-leader': {
      const to = first?.kind === 'move-leader' ? first.to : undefined;
      return ours(
        kind,
        `${name} leads: the leadership goes to ${to === undefined ? 'another voter' : labelOf(to)} first`,
        to && `etcdctl --endpoints=${first?.kind === 'move-leader' ? (first.from.endpoint ?? '') : ''} move-leader ${hex(to.id)}`,
      );
    }
    case 'remove':
      return ours(
        kind,
        `remove ${name} from the cluster, by its id: from then on it counts for no majority`,
        old && `${etcdctl} member remove ${hex(old.id)}`,
      );
    case 'stop':
      return here
        ? ours(kind, `stop its etcd, and wait until the process is gone`, manager.stop)
        : theirs(kind, `stop etcd of ${name} on its machine, so that nothing starts it again`, undefined);
    case 'move-data':
      return here
        ? ours(kind, 'move the old data away; nothing is deleted', `mv ${dataDir} ${dataDir}.replaced-...`)
        : theirs(
            kind,
            'move the old data away (the WAL directory too, where it is apart); delete nothing',
            `mv ${dataDir ?? 'DATA_DIR'} ${dataDir ?? 'DATA_DIR'}.replaced-$(date -u +%Y%m%dT%H%M%SZ)`,
          );
    case 'add': {
      const { as, why } = joiningOf(state, subject);
      return ours(
        kind,
        `add ${name} again as a ${as}, at the addresses that it had: ${why}`,
        `${etcdctl} member add ${name}${as === 'learner' ? ' --learner' : ''} --peer-urls=${(subject.peerUrls ?? []).join(',')}`,
      );
    }
    case 'start':
      return here
        ? ours(kind, 'set initial-cluster-state to existing, and start it', manager.start)
        : theirs(kind, `start etcd of ${name} with an empty data directory and the settings that are printed then`, undefined);
    case 'catch-up':
      return ours(kind, 'wait until it has received everything', undefined);
    case 'promote':
      return ours(kind, 'make a voter of it', `${etcdctl} member promote ${fresh === undefined ? 'ID' : hex(fresh.id)}`);
    case 'check':
    case 'done':
      return ours(
        kind,
        'compare the hash of all members at one revision, one member at a time (each applies no writes meanwhile)',
        `${etcdctl} endpoint hashkv --cluster`,
      );
  }
}

/** For the loop's log and the result. */
export function doneText(step: Step, name: string): string {
  switch (step.kind) {
    case 'move-leader':
      return `${labelOf(step.to)} leads instead of ${name}`;
    case 'remove':
      return `${name} (${hex(step.member.id)}) was removed from the cluster`;
    case 'stop':
      return `etcd of ${name} does not run any more`;
    case 'move-data':
      return `the old data of ${name} is out of the way`;
    case 'add':
      return `${name} was added as a ${step.as}`;
    case 'start':
      return `${name} was started`;
    case 'catch-up':
      return `${name} has caught up`;
    case 'promote':
      return `${name} is a voter`;
    case 'check':
    case 'done':
      return `${name} was compared with the others`;
  }
}

/** What an operator has to start it with: pasteable, one setting on a line. */
export function startText({ name, environment, flags }: StartWith): string {
  return [
    `start etcd of ${name} with an empty data directory; of its settings these must be so, all others stay:`,
    '',
    ...Object.entries(environment).map(([key, value]) => `${key}="${value}"`),
    '',
    'or as flags:',
    '',
    ...flags.map((flag) => `  ${flag}`),
  ].join('\n');
}

function ours(step: StepKind, what: string, command: string | undefined): PlannedStep {
  return { step, by: 'etcd-warden', what, command };
}

function theirs(step: StepKind, what: string, command: string | undefined): PlannedStep {
  return { step, by: 'operator', what, command };
}
