import { WardenError } from '../../errors.ts';
import { maintainByHand } from '../maintaining.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options } = invocation;
  const members = (options['member'] as readonly string[] | undefined)?.flatMap((names) => names.split(',')).filter(Boolean);
  const all = options['all'] === true;
  const degraded = options['degraded'] === true;
  if (all && members !== undefined) {
    throw new WardenError('usage', '--all and --member exclude each other', { hint: '--member may be given more than once' });
  }
  return maintainByHand(invocation, {
    kind: 'defrag',
    members: members ?? 'all',
    // Whoever asks for the degraded way out asks for every member that is left: one that stays full keeps NOSPACE armed.
    worthwhile: members === undefined && !all && !degraded,
    degraded,
    yes: true,
  });
}
