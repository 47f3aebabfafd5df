import { mkdirSync, readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { CreateBucketCommand, ListBucketsCommand, S3Client } from '@aws-sdk/client-s3';
import type { S3StoreConfig } from '../../src/config/types.ts';
import { program } from '../../tools/programs.ts';
import type { ClusterTls } from './cluster.ts';
import { freePorts, startProcess, until, type Running } from './processes.ts';
import { removeFolder, temporaryFolder } from './watchdog.ts';

export interface GatewayOptions {
  /** Keeps old versions of objects in the buckets that ask for it; object lock needs it. */
  readonly versioning?: boolean;
  readonly tls?: Pick<ClusterTls, 'caFile' | 'serverCertFile' | 'serverKeyFile'>;
  /** Where objects lie; in memory by default. */
  readonly dataRoot?: string;
}

export interface Gateway extends AsyncDisposable {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly region: string;
  /** The folder whose folders are the buckets. */
  readonly root: string;
  readonly pid: number;
  /** A plain SDK client, to look at the buckets with. */
  readonly client: S3Client;
  /** Object lock needs a gateway with versioning. */
  createBucket(name: string, options?: { objectLock?: boolean }): Promise<void>;
  /** How the product reaches it. */
  storeConfig(bucket: string, prefix?: string, changes?: Partial<S3StoreConfig>): S3StoreConfig;
  output(): string;
  stop(): Promise<void>;
}

const ACCESS_KEY = 'warden-test';
const SECRET_KEY = 'warden-test-secret';
const REGION = 'us-east-1';

/** A real S3 server, VersityGW over a folder. */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(options);
    } catch (error) {
      // Somebody took the port between choosing and listening.
      if (attempt === 5 || !(error as Error).message.includes('address already in use')) throw error;
    }
  }
}

async function start({ versioning = false, tls, dataRoot }: GatewayOptions): Promise<Gateway> {
  const folder = temporaryFolder('gateway', dataRoot);
  const root = join(folder, 'buckets');
  const versions = join(folder, 'versions');
  mkdirSync(root);
  mkdirSync(versions);
  const [port] = (await freePorts(1)) as [number];
  const flags = [`--port=127.0.0.1:${port}`, `--region=${REGION}`, '--quiet'];
  if (tls !== undefined) flags.push(`--cert=${tls.serverCertFile}`, `--key=${tls.serverKeyFile}`);
  const running = startProcess(program('versitygw'), [...flags, 'posix', ...(versioning ? [`--versioning-dir=${versions}`] : []), root], {
    env: { PATH: process.env['PATH'], ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
  });
  const endpoint = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  const client = new S3Client({
    endpoint,
    region: REGION,
    forcePathStyle: true,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    maxAttempts: 1,
    ...(tls === undefined ? {} : { requestHandler: { httpsAgent: new Agent({ ca: readFileSync(tls.caFile) }) } }),
  });

  async function stop(): Promise<void> {
    client.destroy();
    running.kill('SIGKILL');
    await running.exited.catch(() => undefined);
    removeFolder(folder);
  }

  try {
    await listening(running, client);
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    endpoint,
    accessKey: ACCESS_KEY,
    secretKey: SECRET_KEY,
    region: REGION,
    root,
    pid: running.pid,
    client,
    async createBucket(bucket, { objectLock = false } = {}) {
      await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: objectLock }));
    },
    storeConfig: (bucket, prefix = 'backups', changes = {}) => storeConfig(endpoint, { bucket, prefix, caFile: tls?.caFile, ...changes }),
    output: () => running.output(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function listening(running: Running, client: S3Client): Promise<void> {
  await until(
    async () => {
      if (running.result() !== undefined) throw new Error(`versitygw ended with ${JSON.stringify(running.result())}:\n${running.output()}`);
      return client.send(new ListBucketsCommand({})).then(
        () => true,
        () => false,
      );
    },
    () => `versitygw does not answer:\n${running.output()}`,
  );
}

/** The defaults of the product's option table, but for the address. */
function storeConfig(endpoint: string, changes: Partial<S3StoreConfig> & Pick<S3StoreConfig, 'bucket' | 'prefix'>): S3StoreConfig {
  return {
    type: 's3',
    name: 's3',
    region: REGION,
    endpoint,
    pathStyle: true,
    caFile: undefined,
    proxy: undefined,
    storageClass: undefined,
    encryption: 'none',
    kmsKeyId: undefined,
    customerKey: undefined,
    checksum: 'crc32',
    accessKeyId: { origin: 'test', read: () => ACCESS_KEY },
    secretAccessKey: { origin: 'test', read: () => SECRET_KEY },
    sessionToken: undefined,
    profile: undefined,
    connectTimeoutMs: 2_000,
    requestTimeoutMs: 10_000,
    retries: 5,
    maxRate: 0,
    ...changes,
  };
}
