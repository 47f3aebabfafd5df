/** Whether there is room for what a restore writes, on each file system, before anything is written. */
import { stat, statfs } from 'node:fs/promises';
import { WardenError } from '../../errors.ts';

export interface Demand {
  /** An existing folder on the file system. */
  readonly folder: string;
  readonly bytes: number;
  /** For the error: `the database of m1`. */
  readonly what: string;
}

/** @throws WardenError `disk-full` with the sum of what one file system would have to take */
export async function checkSpace(demands: readonly Demand[]): Promise<void> {
  const byDevice = new Map<number, Demand[]>();
  for (const demand of demands) {
    const { dev } = await stat(demand.folder);
    byDevice.set(dev, [...(byDevice.get(dev) ?? []), demand]);
  }
  for (const group of byDevice.values()) {
    const folder = group[0]?.folder ?? '/';
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const needed = group.reduce((sum, { bytes }) => sum + bytes, 0);
    if (needed <= free) continue;
    throw new WardenError('disk-full', `the disk of ${folder} is too small: ${free} bytes are free, ${needed} are needed`, {
      hint: `${group.map(({ what, bytes }) => `${bytes} for ${what}`).join(', ')}; free ${needed - free} bytes, or restore to another disk`,
    });
  }
}
