import type { ClusterConfig } from '../config/types.ts';
import type { ClusterAccess } from './types.ts';

/** By configuration object, since clients made from the same access share a login: a daemon then logs in once, not at every look at the cluster. */
const known = new WeakMap<ClusterConfig, ClusterAccess>();

/** How the clients reach a configured cluster: the same object for the same configuration. */
export function accessOf(cluster: ClusterConfig): ClusterAccess {
  let access = known.get(cluster);
  if (access === undefined) {
    access = toAccess(cluster);
    known.set(cluster, access);
  }
  return access;
}

function toAccess(cluster: ClusterConfig): ClusterAccess {
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
