/** What the retention policy is asked about: one store's copies. Pure; the policy itself is in src/retention. */
import type { Catalog, Generation } from './types.ts';

export interface RetentionView {
  readonly backups: readonly {
    readonly id: string;
    readonly timeMs: number;
    readonly lineage: string;
    readonly verified: boolean;
    readonly suspect: boolean;
  }[];
  readonly pins: readonly { readonly id: string; readonly reason: string }[];
  readonly generations: readonly Generation[];
}

/**
 * The backups of which `store` holds a manifest that can be read: nothing else is ever pruned. Add policy and time, and it is the policy's input.
 * The caller prunes nothing while `catalog.unreachable` is not empty: a hold, or the acceptance of a generation, may lie there.
 */
export function retentionView(catalog: Catalog, store: string): RetentionView {
  const backups = catalog.backups.flatMap(({ id, timeMs, manifest, copies, suspect }) => {
    const copy = copies.find((each) => each.store === store);
    if (copy?.manifest !== 'present') return [];
    return [{ id, timeMs, lineage: manifest.lineage, verified: copy.verified, suspect: suspect !== undefined }];
  });
  const pins = catalog.backups.flatMap(({ id, held }) => (held === undefined ? [] : [{ id, reason: `held: ${held}` }]));
  return { backups, pins, generations: catalog.generations };
}
