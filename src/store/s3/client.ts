/**
 * The SDK's client, and when a new one is needed: the CA file changed, the credentials ran out, the bucket turned out to be in another region.
 * The SDK's own retries are off. Its retry quota is shared by all calls and drains in a long outage, after which the first calls that
 * would succeed are not tried again; ours (calls.ts) counts per call.
 */
import { readFileSync, statSync } from 'node:fs';
import { Agent as HttpsAgent } from 'node:https';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import type { S3StoreConfig } from '../../config/types.ts';
import { asError, WardenError } from '../../errors.ts';
import { PlainAgent } from './sockets.ts';

/** Credentials from files are read again after this long, because they may have been rotated. The SDK refreshes 5 minutes before they end. */
const CREDENTIALS_LAST_MS = 30_000;
const SDK_REFRESH_AHEAD_MS = 5 * 60_000;
const SOCKETS = 8;

export interface Clients {
  /** The client to use for the next attempt. */
  current(): S3Client;
  /** Forgets client and cached credentials. */
  renew(): void;
  /** The bucket is there. */
  moveTo(region: string): void;
  close(): void;
}

/** `proxyEnv` of node:http agents: Node 24.5 and 22.21. An older one would go around the proxy without a word. */
function knowsProxies(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
}

/** One client at a time; those it replaced stay open until the end, as calls may still run on them. */
export function createClients(config: S3StoreConfig): Clients {
  if (config.proxy !== undefined && !knowsProxies(process.versions.node)) {
    throw new WardenError('config-invalid', `stores.${config.name}.proxy needs Node 24.5 or 22.21, this is ${process.versions.node}`);
  }
  const made: S3Client[] = [];
  let region = config.region ?? process.env['AWS_REGION'] ?? process.env['AWS_DEFAULT_REGION'] ?? 'us-east-1';
  let client: S3Client | undefined;
  let stamp = '';

  return {
    current() {
      const now = stampOf(config.caFile);
      if (client === undefined || now !== stamp) {
        stamp = now;
        client = new S3Client(clientConfig(config, region));
        made.push(client);
        if (config.checksum === 'crc32') sendUnsignedOverTls(client);
      }
      return client;
    },
    renew() {
      client = undefined;
    },
    moveTo(other) {
      region = other;
      client = undefined;
    },
    close() {
      for (const old of made) old.destroy();
    },
  };
}

function clientConfig(config: S3StoreConfig, region: string): S3ClientConfig {
  const agent = {
    keepAlive: true,
    maxSockets: SOCKETS,
    proxyEnv: config.proxy === undefined ? process.env : { HTTP_PROXY: config.proxy, HTTPS_PROXY: config.proxy },
    ...(config.caFile === undefined ? {} : { ca: readCa(config.caFile) }),
  };
  const credentials = explicitCredentials(config);
  return {
    region,
    maxAttempts: 1,
    forcePathStyle: config.pathStyle,
    // Checksums are ours, computed while the parts are read: nothing is left to defaults that older servers store as part of the body.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: config.connectTimeoutMs,
      socketTimeout: config.requestTimeoutMs,
      // Agents and not their options: the SDK would otherwise make its own, without proxy and CA, for some requests.
      httpAgent: new PlainAgent(agent),
      httpsAgent: new HttpsAgent(agent),
    },
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    ...(config.profile === undefined ? {} : { profile: config.profile }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

function explicitCredentials(
  config: S3StoreConfig,
): (() => Promise<{ accessKeyId: string; secretAccessKey: string; expiration: Date; sessionToken?: string }>) | undefined {
  const { accessKeyId, secretAccessKey, sessionToken } = config;
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return () =>
    Promise.resolve({
      accessKeyId: accessKeyId.read(),
      secretAccessKey: secretAccessKey.read(),
      ...(sessionToken === undefined ? {} : { sessionToken: sessionToken.read() }),
      expiration: new Date(Date.now() + SDK_REFRESH_AHEAD_MS + CREDENTIALS_LAST_MS),
    });
}

/** Over TLS the parts' own CRC32 is enough: hashing every byte with SHA-256 again for the signature would cost a third of the upload's time. */
function sendUnsignedOverTls(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { request } = args as { request?: { protocol?: string; method?: string; body?: unknown; headers?: Record<string, string> } };
      if (request?.protocol === 'https:' && request.method === 'PUT' && Buffer.isBuffer(request.body) && request.headers !== undefined) {
        request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      }
      return next(args);
    },
    { step: 'build', name: 'sendUnsignedOverTls' },
  );
}

function readCa(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new WardenError('config-invalid', `caFile ${path} cannot be read: ${asError(error).message}`, { cause: error });
  }
}

function stampOf(path: string | undefined): string {
  if (path === undefined) return '-';
  const stat = statSync(path, { throwIfNoEntry: false });
  // While a file is being replaced it may be gone for a moment; the error, if it stays gone, comes from reading it.
  return stat === undefined ? 'gone' : `${stat.ino}.${stat.size}.${stat.mtimeMs}`;
}
