/** Where files lie that have no name and end with the process: in the state folder, which is ours and may be large. */
import { join } from 'node:path';
import type { Config } from '../config/types.ts';

export function scratchFolder({ stateDir }: Pick<Config, 'stateDir'>): string {
  return join(stateDir, 'scratch');
}
