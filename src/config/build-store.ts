/** The entries of one store to its part of the configuration. */
import { getter, missing, needs, readable, setDefault, type BuildContext, type Entries } from './entries.ts';
import { resolveSecret } from './secret.ts';
import type { StoreConfig } from './types.ts';

export function buildStore(name: string, entries: Entries, context: BuildContext): StoreConfig {
  const get = getter(entries);
  if (!entries.has('bucket')) return { type: 'local', name, path: get<string>('path') ?? '' };
  const secret = (path: string, credential: string, judge?: (text: string) => string | undefined): ReturnType<typeof resolveSecret> =>
    resolveSecret(
      { entries, path, credentials: [`${name}.${credential}`, credential], ...(judge === undefined ? {} : { judge }) },
      context,
    );
  const encryption = get<'none' | 'sse-s3' | 'sse-kms' | 'sse-c'>('encryption') ?? 'none';
  const bucket = get<string>('bucket') ?? '';
  const endpoint = get<string>('endpoint');
  const pathStyle = get<boolean>('pathStyle') ?? (endpoint !== undefined || bucket.includes('.'));
  setDefault(entries, 'pathStyle', pathStyle);
  const store: StoreConfig = {
    type: 's3',
    name,
    bucket,
    prefix: get<string>('prefix') ?? '',
    region: get<string>('region'),
    endpoint,
    pathStyle,
    caFile: get<string>('caFile'),
    proxy: get<string>('proxy'),
    storageClass: get<string>('storageClass'),
    encryption,
    kmsKeyId: get<string>('kmsKeyId'),
    customerKey: encryption === 'sse-c' ? secret('customerKey', 's3-customer-key', judgeCustomerKey) : undefined,
    checksum: get<'crc32' | 'none'>('checksum') ?? 'crc32',
    accessKeyId: secret('accessKeyId', 's3-access-key-id'),
    secretAccessKey: secret('secretAccessKey', 's3-secret-access-key'),
    sessionToken: secret('sessionToken', 's3-session-token'),
    profile: get<string>('profile'),
    connectTimeoutMs: get<number>('connectTimeout') ?? 0,
    requestTimeoutMs: get<number>('requestTimeout') ?? 0,
    retries: get<number>('retries') ?? 0,
    maxRate: get<number>('maxRate') ?? 0,
  };
  readable(entries, ['caFile'], context);
  needs(entries, 'kmsKeyId', encryption === 'sse-kms', 'encryption: sse-kms beside it', context);
  needs(entries, 'customerKey', encryption === 'sse-c', 'encryption: sse-c beside it', context);
  needs(entries, 'customerKeyFile', encryption === 'sse-c', 'encryption: sse-c beside it', context);
  if (encryption === 'sse-c' && store.customerKey === undefined) missing(entries, 'encryption', 'customerKeyFile beside sse-c', context);
  if ((store.accessKeyId === undefined) !== (store.secretAccessKey === undefined)) {
    const [set, other] = store.accessKeyId === undefined ? ['secretAccessKey', 'accessKeyId'] : ['accessKeyId', 'secretAccessKey'];
    missing(entries, entries.get(`${set}File`)?.value === undefined ? set : `${set}File`, `${other} or ${other}File beside it`, context);
  }
  return store;
}

function judgeCustomerKey(text: string): string | undefined {
  return /^[A-Za-z0-9+/]{43}=$/.test(text.trim()) ? undefined : '32 bytes in base64 (`openssl rand -base64 32` makes them)';
}
