/** What the backups in the stores tell about proofs: who was asked when, how long it took, who disagrees, and what has no proof yet. Pure. */
import type { Backup, Catalog } from '../../catalog/types.ts';
import type { PastProof } from './policy.ts';
import { unprovableSchema } from './schema.ts';

export interface ProofHistory {
  /** Oldest first. */
  readonly proofs: readonly PastProof[];
  /** The oldest backup of this history. */
  readonly sinceMs: number | undefined;
  /** Set while members disagree, with the backup that told so last. */
  readonly disagreement: { readonly members: readonly string[]; readonly reason: string; readonly id: string } | undefined;
}

/** Of one history: members of an earlier cluster of the same name say nothing. */
export function proofHistory(catalog: Pick<Catalog, 'backups'>, lineage: string | undefined): ProofHistory {
  const backups = catalog.backups.filter(({ manifest }) => manifest.lineage === lineage);
  // Doubted members are asked each time, so the newest comparison knows; a backup without one knows nothing.
  const last = backups.findLast(({ manifest }) => manifest.proof !== undefined || manifest.disagreement !== undefined);
  const found = last?.manifest.disagreement;
  const disagreement = last === undefined || found === undefined ? undefined : { ...found, id: last.id };
  return { proofs: backups.flatMap(pastProof), sinceMs: backups[0]?.timeMs, disagreement };
}

function pastProof({ timeMs, manifest, proof }: Backup): PastProof[] {
  const { disagreement } = manifest;
  if (proof === undefined && disagreement === undefined) return [];
  const members = [...(proof?.members ?? []), ...(disagreement?.members ?? [])];
  return [{ timeMs, members, tookMs: proof?.tookMs, bytes: proof?.bytes }];
}

/** Reasons that no later question can mend. */
const FOR_GOOD: ReadonlySet<string> = new Set(['disabled', 'damaged', 'differs', 'imported', 'revision-compacted']);
/** The older, the surer its revision is compacted. */
const WORTH_ASKING = 3;

/** Backups of the newest history for which a member may still be asked, newest first. */
export function provable(catalog: Pick<Catalog, 'backups'>, lineage: string | undefined): Backup[] {
  return catalog.backups
    .filter(
      ({ manifest, proof, suspect, copies }) =>
        manifest.lineage === lineage &&
        proof === undefined &&
        suspect === undefined &&
        manifest.unproved !== undefined &&
        !FOR_GOOD.has(manifest.unproved.code) &&
        // Not by its code: a later version of this program may know the schema.
        unprovableSchema(manifest) === undefined &&
        copies.some((copy) => copy.manifest === 'present' && copy.data === 'present'),
    )
    .slice(-WORTH_ASKING)
    .reverse();
}
