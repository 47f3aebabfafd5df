import { WardenError } from '../../errors.ts';
import type { MemberGate } from '../types.ts';

/** @throws WardenError `refused` with everything that refuses, and the first way out */
export function refuse(gates: readonly MemberGate[]): void {
  const refusals = gates.filter(({ verdict }) => verdict === 'refused');
  const [first] = refusals;
  if (first === undefined) return;
  throw new WardenError('refused', refusals.map(({ message }) => message).join('; '), { hint: first.hint });
}
