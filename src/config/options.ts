/**
 * The one option table. Defaults, names in the environment, flags, validation, `config print` and docs/configuration.md all come from it;
 * nothing about an option is written down anywhere else.
 */
import { withSecretFiles, type Option } from './option.ts';
import { CLUSTER_OPTIONS } from './options-cluster.ts';
import { DAEMON_OPTIONS } from './options-daemon.ts';
import { LOCAL_STORE_OPTIONS, S3_STORE_OPTIONS } from './options-store.ts';

export type Scope = 'daemon' | 'cluster' | 'local' | 's3';

export const OPTIONS: Readonly<Record<Scope, readonly Option[]>> = {
  daemon: withSecretFiles(DAEMON_OPTIONS),
  cluster: withSecretFiles(CLUSTER_OPTIONS),
  local: withSecretFiles(LOCAL_STORE_OPTIONS),
  s3: withSecretFiles(S3_STORE_OPTIONS),
};
