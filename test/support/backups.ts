import { encodeAcceptance, encodeCheck } from '../../src/format/facts.ts';
import { acceptanceKey, checkKey, dataKey, manifestKey } from '../../src/format/keys.ts';
import { encodeManifest } from '../../src/format/manifest.ts';
import type { Acceptance, Check, Manifest } from '../../src/format/types.ts';
import { sampleAcceptance, sampleCheck, sampleManifest, seededBytes, type ManifestFields } from './manifests.ts';
import type { MemoryStore } from './memory-store.ts';

const random = seededBytes(7);

/** Puts a whole backup into each store, as a finished backup leaves it: data of the announced length and the manifest. */
export function seedBackup(stores: readonly MemoryStore[], fields: ManifestFields = {}): Manifest {
  const manifest = sampleManifest({ stores: stores.map(({ name }) => name), ...fields });
  for (const store of stores) {
    store.objects.set(keyOfData(manifest), { body: Buffer.alloc(manifest.stored.bytes, 1), modified: new Date(manifest.time) });
    store.objects.set(keyOfManifest(manifest), { body: encodeManifest(manifest), modified: new Date(manifest.time) });
  }
  return manifest;
}

export function seedCheck(stores: readonly MemoryStore[], fields: Partial<Check> & Pick<Check, 'id' | 'kind'>): string {
  const check = sampleCheck(fields);
  const key = checkKey('prod', check.id, new Date(check.time), check.kind, random);
  for (const store of stores) store.objects.set(key, { body: encodeCheck(check), modified: new Date(check.time) });
  return key;
}

export function seedAcceptance(stores: readonly MemoryStore[], fields: Partial<Acceptance> = {}): string {
  const acceptance = sampleAcceptance(fields);
  const key = acceptanceKey('prod', new Date(acceptance.time), acceptance.kind, random);
  for (const store of stores) store.objects.set(key, { body: encodeAcceptance(acceptance), modified: new Date(acceptance.time) });
  return key;
}

export function keyOfData({ cluster, id, stored }: Manifest): string {
  return dataKey(cluster, id, stored.encryption);
}

export function keyOfManifest({ cluster, id, revision }: Manifest): string {
  return manifestKey(cluster, id, revision);
}
