/** The product as a user configures it: a file, loaded and checked as always, and a job's context around it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/types.ts';
import { runBackup } from '../../src/jobs/backup/backup.ts';
import type { BackupRequest, BackupResult, JobContext, ProgressEvent } from '../../src/jobs/types.ts';
import { silentLogger } from '../../src/telemetry/logger.ts';
import type { Cluster } from './cluster.ts';
import type { Gateway } from './gateway.ts';

export interface ProductOptions {
  readonly folder: string;
  readonly cluster: Pick<Cluster, 'endpoints'>;
  /** Adds a store `s3` in this bucket. */
  readonly s3?:
    | {
        readonly gateway: Pick<Gateway, 'endpoint' | 'region' | 'accessKey' | 'secretKey'>;
        readonly bucket: string;
        readonly prefix?: string;
      }
    | undefined;
  /** Leave out the local store `disk`. */
  readonly noDisk?: boolean;
  /** Further keys of the cluster, of the S3 store and of the top level, as in a file. */
  readonly clusterOptions?: Readonly<Record<string, unknown>>;
  readonly s3Options?: Readonly<Record<string, unknown>>;
  readonly options?: Readonly<Record<string, unknown>>;
}

export interface Product {
  readonly configPath: string;
  readonly config: Config;
  /** Folder of the local store. */
  readonly disk: string;
  readonly progress: readonly ProgressEvent[];
  context(changes?: Partial<JobContext>): JobContext;
  backup(request?: Partial<BackupRequest>, changes?: Partial<JobContext>): Promise<BackupResult>;
}

/** A cluster named `main`, stores `disk` and `s3`, files 0600 in `folder`. */
export function product(options: ProductOptions): Product {
  const { folder, s3 } = options;
  mkdirSync(folder, { recursive: true });
  const disk = join(folder, 'backups');
  const secret = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const configPath = join(folder, 'config.yaml');
  const file = {
    clusters: { main: { endpoints: options.cluster.endpoints, ...options.clusterOptions } },
    stores: {
      ...(options.noDisk === true ? {} : { disk: { type: 'local', path: disk } }),
      ...(s3 === undefined
        ? {}
        : {
            s3: {
              type: 's3',
              bucket: s3.bucket,
              ...(s3.prefix === undefined ? {} : { prefix: s3.prefix }),
              endpoint: s3.gateway.endpoint,
              region: s3.gateway.region,
              pathStyle: true,
              accessKeyIdFile: secret('s3-access-key', s3.gateway.accessKey),
              secretAccessKeyFile: secret('s3-secret-key', s3.gateway.secretKey),
              ...options.s3Options,
            },
          }),
    },
    stateDir: join(folder, 'state'),
    http: { listen: 'off' },
    ...options.options,
  };
  writeFileSync(configPath, stringify(file), { mode: 0o600 });
  const { config } = loadConfig({ flags: { config: configPath }, env: {} });
  const progress: ProgressEvent[] = [];
  const context = (changes: Partial<JobContext> = {}): JobContext => ({
    config,
    logger: silentLogger,
    signal: new AbortController().signal,
    progress: (event) => progress.push(event),
    now: () => new Date(),
    ...changes,
  });
  return {
    configPath,
    config,
    disk,
    progress,
    context,
    backup: (request, changes) =>
      runBackup({ cluster: 'main', prune: false, acceptCluster: false, onNewGeneration: 'refuse', ...request }, context(changes)),
  };
}
