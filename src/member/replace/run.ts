/** The loop of a replacement: look, derive the next step, carry it out, and look again. */
import { WardenError } from '../../errors.ts';
import { carryOut } from './actions.ts';
import { nextStep } from './next.ts';
import { refuse } from './refuse.ts';
import type { ReplaceSetting, World } from './setting.ts';
import { nameOf } from './subject.ts';
import type { StepKind } from './types.ts';
import { doneText } from './words.ts';

export interface StepDone {
  readonly step: StepKind;
  readonly message: string;
  readonly tookMs: number;
}

export interface Replaced {
  readonly steps: readonly StepDone[];
  /** Worth telling at the end. */
  readonly remarks: readonly string[];
  readonly world: World;
}

/** A step that does not lead on does not by being repeated. */
const MOST_REPEATS = 3;

/** @param onStep told of each step that is done. @throws WardenError what ended it; the same again goes on from what is seen then */
export async function runReplace(setting: ReplaceSetting, onStep: (step: StepDone) => void = () => {}): Promise<Replaced> {
  const { signal } = setting.context;
  const steps: StepDone[] = [];
  const remarks: string[] = [];
  for (;;) {
    const world = await setting.look(signal);
    const step = nextStep(world.state);
    const name = nameOf(world.state);
    if (step === undefined) {
      refuse(setting.gates(world));
      throw new WardenError('member-missing', `nothing tells where ${name} is reached by the others`, { hint: 'say it with --peer-urls' });
    }
    if (step.kind === 'done') {
      await setting.note.clear(signal);
      return { steps, remarks, world };
    }
    // What changes the list of members is refused by the rules; what follows a removal only mends.
    const gates = setting.gates(world);
    const changing = step.kind === 'move-leader' || step.kind === 'remove' || step.kind === 'add';
    refuse(gates.filter(({ rule }) => changing || rule === 'wrong-data'));
    if (steps.filter((one) => one.step === step.kind).length >= MOST_REPEATS) {
      throw new WardenError('surprise', `${step.kind} was done ${MOST_REPEATS} times and has to be done again`, {
        hint: 'somebody or something works against it: look at the member list and at what starts that etcd',
      });
    }
    const started = performance.now();
    const told = await carryOut(step, world, setting).catch((error: unknown) => {
      throw signal.aborted ? interrupted(signal.reason, name) : error;
    });
    const message = [doneText(step, name), ...told].join('; ');
    remarks.push(...told.filter((one) => one.startsWith('warning: ') || one.startsWith('to go on ')));
    const done: StepDone = { step: step.kind, message, tookMs: Math.round(performance.now() - started) };
    steps.push(done);
    setting.logger.info({ member: name, step: step.kind, tookMs: done.tookMs }, message);
    setting.context.progress({ step: step.kind, subject: name, message, finished: true });
    onStep(done);
  }
}

function interrupted(reason: unknown, name: string): WardenError {
  const stopped = reason instanceof Error ? reason.message : 'stopped';
  return new WardenError('interrupted', `${stopped} while ${name} was being replaced`, {
    hint: 'the same command again goes on from what it sees',
    cause: reason,
  });
}
