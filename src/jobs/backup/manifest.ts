/** The manifest of a backup, from what the stream, the file and the members told. */
import { hex } from '../../etcd/ids.ts';
import type { Candidate } from '../../etcd/types.ts';
import { MANIFEST_SCHEMA, type Manifest, type RevisionMark } from '../../format/types.ts';
import type { Head } from '../../mvcc/head.ts';
import { toolName } from '../../version.ts';
import type { Sealed } from './attempt.ts';
import type { Belonging } from './generation.ts';

export interface ManifestFacts {
  readonly id: string;
  readonly cluster: string;
  readonly startedAt: Date;
  readonly label: string | undefined;
  readonly belonging: Belonging;
  readonly candidate: Candidate;
  readonly clusterIdAtEnd: bigint;
  readonly marks: readonly RevisionMark[];
  readonly sealed: Sealed;
  readonly head: Head;
  /** Live keys; undefined when the file could not be read through. */
  readonly keyCount: number | undefined;
  readonly storageVersion: string | undefined;
  readonly streamMs: number;
  readonly totalMs: number;
  readonly stores: readonly string[];
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  readonly suspect: string | undefined;
  readonly verdict: Pick<Manifest, 'proof' | 'unproved' | 'disagreement'>;
}

export function composeManifest(facts: ManifestFacts): Manifest {
  const { status } = facts.candidate;
  const { proof, unproved, disagreement } = facts.verdict;
  return {
    schema: MANIFEST_SCHEMA,
    tool: toolName,
    id: facts.id,
    cluster: facts.cluster,
    time: facts.startedAt.toISOString(),
    ...(facts.label === undefined ? {} : { label: facts.label }),
    clusterId: hex(status.clusterId),
    clusterIdAtEnd: hex(facts.clusterIdAtEnd),
    lineage: facts.belonging.lineage,
    ...(facts.belonging.parent === undefined ? {} : { parent: facts.belonging.parent.id }),
    member: { id: hex(status.memberId), name: status.name, endpoint: status.endpoint, role: status.role },
    etcdVersion: status.version,
    ...(facts.storageVersion === undefined || facts.storageVersion === '' ? {} : { storageVersion: facts.storageVersion }),
    raftTerm: String(status.raftTerm),
    revision: String(facts.head.revision),
    compactRevision: String(facts.head.compactRevision),
    marks: facts.marks,
    plain: { bytes: facts.sealed.plainBytes, sha256: facts.sealed.plainSha256, databaseSha256: facts.sealed.databaseSha256 },
    stored: {
      bytes: facts.sealed.storedBytes,
      sha256: facts.sealed.storedSha256,
      crc32: facts.sealed.storedCrc32,
      compression: 'zstd-seekable',
      encryption: facts.sealed.encryption,
    },
    ...(facts.keyCount === undefined ? {} : { keyCount: facts.keyCount }),
    ...(proof === undefined ? {} : { proof }),
    ...(unproved === undefined ? {} : { unproved }),
    ...(disagreement === undefined ? {} : { disagreement }),
    timings: { streamMs: Math.round(facts.streamMs), totalMs: Math.round(facts.totalMs) },
    stores: facts.stores,
    warnings: facts.warnings,
    ...(facts.suspect === undefined ? {} : { suspect: facts.suspect }),
  };
}
