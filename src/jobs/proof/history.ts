/** What the backups in the stores tell about proofs: who was asked when, how long it took, and which members disagree. Pure. */
import type { Backup, Catalog } from '../../catalog/types.ts';
import type { PastProof } from './policy.ts';

export interface ProofHistory {
  /** Oldest first. */
  readonly proofs: readonly PastProof[];
  readonly sinceMs: number | undefined;
  /** Set while members disagree: until each of them was found to agree with a later backup. */
  readonly disagreement: { readonly members: readonly string[]; readonly reason: string; readonly id: string } | undefined;
}

/** Of one history: members of an earlier cluster of the same name say nothing. @param lineage the newest one's when absent */
export function proofHistory(catalog: Pick<Catalog, 'backups'>, lineage = catalog.backups.at(-1)?.manifest.lineage): ProofHistory {
  const backups = catalog.backups.filter(({ manifest }) => manifest.lineage === lineage);
  let disagreement: ProofHistory['disagreement'];
  for (const { id, manifest } of backups) {
    const agreed = manifest.proof?.members ?? [];
    const left = disagreement?.members.filter((member) => !agreed.includes(member)) ?? [];
    if (disagreement !== undefined) disagreement = left.length === 0 ? undefined : { ...disagreement, members: left };
    if (manifest.disagreement !== undefined) disagreement = { ...manifest.disagreement, id };
  }
  return { proofs: backups.flatMap(pastProofs), sinceMs: backups[0]?.timeMs, disagreement };
}

/** As it was taken, or later. */
export function isProved({ manifest, copies }: Pick<Backup, 'manifest' | 'copies'>): boolean {
  return manifest.proof !== undefined || copies.some(({ check }) => check?.proof !== undefined && check.outcome === 'ok');
}

function pastProofs({ timeMs, manifest, copies }: Backup): PastProof[] {
  const { proof, disagreement } = manifest;
  const later = copies.find(({ check }) => check?.proof !== undefined)?.check;
  const found: PastProof[] = [];
  if (proof !== undefined || disagreement !== undefined) {
    found.push({
      timeMs,
      members: [...(proof?.members ?? []), ...(disagreement?.members ?? [])],
      tookMs: proof?.tookMs,
      bytes: proof?.bytes,
    });
  }
  if (later?.proof !== undefined) {
    found.push({ timeMs: Date.parse(later.time), members: later.proof.members, tookMs: later.proof.tookMs, bytes: later.proof.bytes });
  }
  return found;
}
