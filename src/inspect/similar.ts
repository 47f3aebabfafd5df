/** Keys that somebody may have meant, from a directory that answers fast. */
import { editDistance } from '../config/suggest.ts';
import { prefixRange } from './range.ts';
import { liveAt } from './state.ts';
import type { KeyDirectory } from './types.ts';

/** Neighbours that are looked at. */
const LOOKED_AT = 1000;
const SHOWN = 3;
/** Comparing costs the product of the lengths. */
const MAX_LENGTH = 200;

/** Usual slips: the leading slash, and the prefix of the Kubernetes API server. */
const LEADS = ['/', '/registry/', '/registry'] as const;

/** At most three live keys, nearest first. @param key as it was typed */
export async function similarKeys(directory: KeyDirectory, key: Buffer, revision: bigint, signal: AbortSignal): Promise<Buffer[]> {
  for (const lead of LEADS) {
    const candidate = Buffer.concat([Buffer.from(lead), key]);
    const entry = await directory.find(candidate, signal);
    if (entry !== undefined && liveAt(entry, revision) !== undefined) return [candidate];
  }
  const text = key.toString();
  if (text.length > MAX_LENGTH) return [];
  const folder = key.subarray(0, key.lastIndexOf('/') + 1);
  const near: { readonly key: Buffer; readonly distance: number }[] = [];
  let count = 0;
  for await (const entry of directory.entries(prefixRange(folder), signal)) {
    count += 1;
    if (count > LOOKED_AT) break;
    const other = entry.key.toString();
    if (other.length > MAX_LENGTH || liveAt(entry, revision) === undefined) continue;
    const distance = editDistance(text.slice(folder.length), other.slice(folder.length));
    if (distance <= Math.max(2, (text.length - folder.length) / 3)) near.push({ key: entry.key, distance });
  }
  return near
    .sort((a, b) => a.distance - b.distance)
    .slice(0, SHOWN)
    .map((one) => one.key);
}
