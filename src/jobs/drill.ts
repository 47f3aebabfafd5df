/** Restores the newest backup of each store into a scratch etcd, compares, and records what came out. */
import { WardenError } from '../errors.ts';
import type { DrillLine, DrillRequest, JobContext } from './types.ts';

export function drill(request: DrillRequest, _context: JobContext): Promise<readonly DrillLine[]> {
  return Promise.reject(new WardenError('refused', `drills of ${request.cluster} are not available yet`));
}
