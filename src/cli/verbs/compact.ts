import { parseHistory } from '../../config/history.ts';
import { WardenError } from '../../errors.ts';
import { maintainByHand } from '../maintaining.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options } = invocation;
  const text = options['keep'];
  const keep = parseHistory(text);
  if (text !== undefined && keep === undefined) {
    throw new WardenError('usage', `--keep ${JSON.stringify(text)} is no history to keep`, {
      hint: 'a number of revisions such as 10000, or a time such as 10m; a compaction that keeps nothing breaks every watch and paged list',
    });
  }
  return maintainByHand(invocation, { kind: 'compact', yes: true, ...(keep === undefined ? {} : { keep }) });
}
