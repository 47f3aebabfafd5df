/**
 * Which keys are an API server's: its clients remember revisions, so that a store of theirs must never go back to an earlier one. The prefix is that of
 * `--etcd-prefix` by default, which no distribution changes; the single key is where the API server notes its compactions.
 */
const REGISTRY = Buffer.from('/registry/');
const COMPACT_KEY = Buffer.from('compact_rev_key');

/** Of the bytes from `from` to `to`: makes no view, for passes over all records. */
export function isKubernetesKey(bytes: Uint8Array, from: number, to: number): boolean {
  const first = bytes[from];
  if (first === REGISTRY[0]) return to - from >= REGISTRY.length && begins(bytes, from, REGISTRY);
  return first === COMPACT_KEY[0] && to - from === COMPACT_KEY.length && begins(bytes, from, COMPACT_KEY);
}

function begins(bytes: Uint8Array, from: number, prefix: Buffer): boolean {
  for (let i = 0; i < prefix.length; i += 1) if (bytes[from + i] !== prefix[i]) return false;
  return true;
}
