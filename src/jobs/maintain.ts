/** One round of maintenance of a cluster, for the daemon and for the verbs. */
import { WardenError } from '../errors.ts';
import type { RoundResult } from '../maintenance/types.ts';
import type { JobContext, MaintainRequest } from './types.ts';

/** @throws WardenError */
export async function maintain(request: MaintainRequest, context: JobContext): Promise<RoundResult> {
  context.signal.throwIfAborted();
  return Promise.reject(new WardenError('failed', `no step of maintenance is known for ${request.cluster}`));
}
