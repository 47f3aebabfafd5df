/** Where files lie that end with the job: in the state folder, which is ours and may be large. */
import { join } from 'node:path';
import type { Config } from '../config/types.ts';

export function scratchFolder({ stateDir }: Pick<Config, 'stateDir'>): string {
  return join(stateDir, 'scratch');
}

/** Where drills of a cluster make their folders: theirs is 0700 inside of it. A cluster that is not configured has none of its own. */
export function drillFolder({ stateDir, clusters }: Pick<Config, 'stateDir' | 'clusters'>, cluster: string): string {
  return clusters[cluster]?.drill.folder ?? stateDir;
}
