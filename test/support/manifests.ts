import { newId } from '../../src/format/ids.ts';
import type { RestoreRecord } from '../../src/format/restore-record.ts';
import type { Acceptance, Check, Manifest } from '../../src/format/types.ts';

/** Chance from a seed (a linear congruential generator): tests that fail are repeatable. */
export function seededBytes(seed: number): (length: number) => Uint8Array {
  let state = seed >>> 0;
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    });
}

export const LINEAGE_ONE = '0123456789abcdef';
export const LINEAGE_TWO = 'zyxwvtsrqpnmkjhg';

/** `undefined` takes an optional field away. */
export type ManifestFields = { readonly [Name in keyof Manifest]?: Manifest[Name] | undefined };

/** A whole manifest as a backup writes it; `time` (and so the id) and any field can be given. */
export function sampleManifest(fields: ManifestFields = {}): Manifest {
  const time = fields.time ?? '2026-11-22T10:00:00.123Z';
  return {
    schema: 1,
    tool: 'etcd-warden 0.1.0',
    id: newId(new Date(time), seededBytes(Date.parse(time) % 1_000_003)),
    cluster: 'prod',
    time,
    clusterId: 'cdf818194e3a8c32',
    clusterIdAtEnd: 'cdf818194e3a8c32',
    lineage: LINEAGE_ONE,
    member: { id: '8e9e05c52164694d', name: 'm1', endpoint: 'https://10.0.0.1:2379', role: 'leader' },
    etcdVersion: '3.6.16',
    storageVersion: '3.6.0',
    raftTerm: '7',
    revision: '41',
    compactRevision: '12',
    marks: [
      { time, revision: '40' },
      { time, revision: '42' },
    ],
    plain: { bytes: 24_608, sha256: 'a'.repeat(64), databaseSha256: 'b'.repeat(64) },
    stored: { bytes: 5, sha256: 'c'.repeat(64), crc32: '0123abcd', compression: 'zstd-seekable', encryption: 'none' },
    keyCount: 12,
    timings: { streamMs: 12, totalMs: 40 },
    stores: ['local'],
    warnings: [],
    ...fields,
  } as Manifest;
}

export function sampleCheck(fields: Partial<Check> & Pick<Check, 'id' | 'kind'>): Check {
  const verified = fields.kind === 'verify' ? ({ store: 'local', level: 'stored', outcome: 'ok' } as const) : {};
  return { schema: 1, time: '2026-11-22T11:00:00.000Z', tool: 'etcd-warden 0.1.0', ...verified, ...fields };
}

export function sampleAcceptance(fields: Partial<Acceptance> = {}): Acceptance {
  return {
    schema: 1,
    kind: 'accept',
    time: '2026-11-22T12:00:00.000Z',
    tool: 'etcd-warden 0.1.0',
    lineage: LINEAGE_TWO,
    clusterId: 'cdf818194e3a8c32',
    ...fields,
  };
}

/** What a restore of the sample backup to three members made; `undefined` takes an optional field away. */
export function sampleRestore(fields: { readonly [Name in keyof RestoreRecord]?: RestoreRecord[Name] | undefined } = {}): RestoreRecord {
  return {
    schema: 1,
    tool: 'etcd-warden 0.1.0',
    time: '2026-11-22T11:00:00.000Z',
    source: { backup: '20261122T100000123Z-k3f9qa', cluster: 'prod', lineage: LINEAGE_ONE, databaseSha256: 'b'.repeat(64) },
    attempt: 1,
    token: `restore-${'5a'.repeat(12)}`,
    clusterId: 'b0c4e1f2a3d4c5b6',
    members: [
      { id: '1f', name: 'm2', peerUrls: ['https://10.0.0.2:2380'] },
      { id: '8e9e05c52164694d', name: 'm1', peerUrls: ['https://10.0.0.1:2380', 'https://m1.example:2380'] },
      { id: 'ffffffffffffffff', name: 'm3', peerUrls: ['https://[2001:db8::3]:2380'] },
    ],
    revision: '1000000041',
    compactRevision: '1000000041',
    hash: 4_294_967_295,
    keyCount: 12,
    raisedFrom: '41',
    builder: 'native',
    etcd: '3.6',
    ...fields,
  } as RestoreRecord;
}
