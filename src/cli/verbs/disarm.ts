import { maintainByHand } from '../maintaining.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  return maintainByHand(invocation, { kind: 'disarm', yes: true });
}
