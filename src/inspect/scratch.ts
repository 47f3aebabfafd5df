import { tmpdir } from 'node:os';
import { createScratch } from '../archive/scratch.ts';
import { WardenError } from '../errors.ts';
import type { Scratch } from '../mvcc/scratch.ts';

/** Scratch files in the folder that was configured; in the system's temporary one for somebody who may not write there and only wants to look. */
export function inspectScratch(folder: string | undefined, options: { readonly encrypted: boolean }): Scratch {
  const last = createScratch(tmpdir(), options);
  if (folder === undefined) return last;
  const first = createScratch(folder, options);
  return {
    create: () =>
      first.create().catch((error: unknown) => {
        if (error instanceof WardenError && error.code === 'disk-failed') return last.create();
        throw error;
      }),
  };
}
