/** What can open encrypted backups of a cluster. */
import { parseIdentities } from '../archive/age.ts';
import type { ClusterConfig } from '../config/types.ts';

/** The identities of a cluster's configuration, or undefined when it holds recipients only. */
export async function identityFor(cluster: Pick<ClusterConfig, 'encryption'> | undefined): Promise<readonly string[] | undefined> {
  const secret = cluster?.encryption.identity;
  return secret === undefined ? undefined : parseIdentities(secret.read(), secret.origin);
}
