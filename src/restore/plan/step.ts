import type { PlanStep } from './types.ts';

/** A step whose commands, notes and member are named only where it has some. */
export function step(
  fields: Omit<PlanStep, 'member' | 'notes' | 'commands'> & Partial<Pick<PlanStep, 'member' | 'notes' | 'commands'>>,
): PlanStep {
  return { member: undefined, commands: [], notes: [], ...fields };
}
