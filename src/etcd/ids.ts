/** Cluster and member ids as etcd prints them: lower-case hex without padding. */
export function hex(id: bigint): string {
  return id.toString(16);
}
