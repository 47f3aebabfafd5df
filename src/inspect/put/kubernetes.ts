/** Which keys belong to a Kubernetes API server: it caches, so whoever writes behind its back must know what he does. Pure. */

/** The magic of its protobuf encoding (k8s.io/apimachinery/pkg/runtime/serializer/protobuf). */
const PROTOBUF = Buffer.from('k8s\0');
/** The prefix of every provider of its encryption at rest (k8s.io/apiserver/pkg/storage/value). */
const SEALED = Buffer.from('k8s:enc:');
/** The default of --etcd-prefix. */
const REGISTRY = Buffer.from('/registry/');
/** API servers agree through it on what was compacted. */
const COMPACT_KEY = Buffer.from('compact_rev_key');

export function isKubernetesKey(key: Buffer, value: Buffer): boolean {
  return startsWith(key, REGISTRY) || key.equals(COMPACT_KEY) || startsWith(value, PROTOBUF) || isSealed(value);
}

/** A value that only the API server's own keys open. */
export function isSealed(value: Buffer): boolean {
  return startsWith(value, SEALED);
}

function startsWith(bytes: Buffer, prefix: Buffer): boolean {
  return bytes.length >= prefix.length && bytes.subarray(0, prefix.length).equals(prefix);
}
