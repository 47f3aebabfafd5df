/** Which copies of a backup there are to read from. Pure. */
import type { Backup } from '../catalog/types.ts';

/** Whether the store holds manifest and data of it. */
export function isWhole(backup: Backup, store: string): boolean {
  return backup.copies.some((copy) => copy.store === store && copy.manifest === 'present' && copy.data === 'present');
}

/** The copies that are known to be good first: one whose check cannot be read may be any. */
export function sourcesOf(backup: Backup): string[] {
  const whole = backup.copies.filter((copy) => copy.manifest === 'present' && copy.data === 'present' && copy.check?.outcome !== 'failed');
  return [...whole.filter((copy) => copy.verified), ...whole.filter((copy) => !copy.verified)].map((copy) => copy.store);
}
