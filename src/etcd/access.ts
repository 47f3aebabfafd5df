import type { ClusterConfig } from '../config/types.ts';
import type { ClusterAccess } from './types.ts';

/** How the clients reach a configured cluster. Keep the object for the life of a job: clients made from the same one share a login. */
export function accessOf(cluster: ClusterConfig): ClusterAccess {
  const { password } = cluster;
  return {
    name: cluster.name,
    endpoints: cluster.endpoints,
    tls: cluster.tls,
    user: cluster.user,
    password: password === undefined ? undefined : () => password.read(),
    requestTimeoutMs: cluster.requestTimeoutMs,
    dialTimeoutMs: cluster.dialTimeoutMs,
    streamIdleTimeoutMs: cluster.streamIdleTimeoutMs,
    discover: cluster.discover,
  };
}
