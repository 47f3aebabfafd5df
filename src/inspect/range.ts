/** Ranges of keys in etcd's order, which is that of their bytes. */
import type { KeyRange } from './types.ts';

/** All keys that begin with `prefix`; an empty one means all. */
export function prefixRange(prefix: Buffer): KeyRange {
  if (prefix.length === 0) return {};
  return { from: prefix, to: afterPrefix(prefix) };
}

/** The first key that no longer begins with `prefix`; undefined when there is none, because it is all 0xff. */
export function afterPrefix(prefix: Buffer): Buffer | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  if (length === 0) return undefined;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1]! += 1;
  return end;
}
