/** Entries of one element to the types that other folders work with, and the checks that need more than one option. */
import { checkCron, runGaps } from './cron.ts';
import { didYouMean } from './formats.ts';
import type { ConfigProblem } from './problems.ts';
import type { Entry } from './schema.ts';
import { resolveSecret, type SecretContext } from './secret.ts';
import { closest } from './suggest.ts';
import type { ClusterConfig, Config, Origin, StoreConfig } from './types.ts';
import { formatDuration } from './units.ts';

export type Entries = Map<string, Entry>;

/** What the checks know beyond the element. */
export interface BuildContext extends SecretContext {
  readonly now: Date;
  /** Names of all stores. */
  readonly stores: readonly string[];
  /** Bare endpoints are https whatever else is configured. */
  readonly forceTls: boolean;
  readonly fileless: boolean;
  /** Look at what decrypts backups: not needed to take them. */
  readonly checkIdentity: boolean;
}

/** Twice the longest gap: one failed run is no alarm. The 15 minutes are for the backup itself. */
const AGE_MARGIN_MS = 15 * 60_000;
const AGE_WITHOUT_SCHEDULE_MS = 25 * 3_600_000;

export function buildCluster(name: string, entries: Entries, context: BuildContext): ClusterConfig {
  const get = getter(entries);
  const tls = {
    caFile: get<string>('tls.caFile'),
    certFile: get<string>('tls.certFile'),
    keyFile: get<string>('tls.keyFile'),
    serverName: get<string>('tls.serverName'),
    insecureSkipVerify: get<boolean>('tls.insecureSkipVerify') ?? false,
  };
  together(entries, ['tls.certFile', 'tls.keyFile'], context);
  readable(entries, ['tls.caFile', 'tls.certFile', 'tls.keyFile'], context);
  const secure = tls.caFile !== undefined || tls.certFile !== undefined || context.forceTls;
  const endpoints = (get<readonly string[]>('endpoints') ?? []).map((endpoint) => withScheme(endpoint, secure));
  // With the scheme that counts, for `config print`.
  entries.set('endpoints', { ...entries.get('endpoints')!, value: endpoints });
  const user = get<string>('user');
  const password =
    user === undefined
      ? undefined
      : resolveSecret({ entries, path: 'password', credentials: [`${name}.etcd-password`, 'etcd-password'] }, context);
  const member = memberChoice(entries, endpoints, secure, context);
  checkLogin(name, entries, endpoints, context);
  if (tls.insecureSkipVerify)
    context.warnings.push(
      `${entries.get('tls.insecureSkipVerify')!.path}: certificates are not checked; whoever stands between can read everything`,
    );
  return {
    name,
    endpoints,
    tls,
    user,
    password,
    discover: get<boolean>('discover') ?? true,
    member,
    dialTimeoutMs: get<number>('dialTimeout') ?? 0,
    requestTimeoutMs: get<number>('requestTimeout') ?? 0,
    streamIdleTimeoutMs: get<number>('streamIdleTimeout') ?? 0,
    coordinate: get<boolean>('coordinate') ?? true,
    keyPrefix: get<string>('keyPrefix') ?? '',
    dataDir: get<string>('dataDir'),
    backup: buildBackup(entries, context),
    encryption: {
      recipients: get<readonly string[]>('encryption.recipients') ?? [],
      identity: resolveSecret(
        { entries, path: 'encryption.identity', credentials: [`${name}.age-identity`, 'age-identity'], judge: judgeIdentity },
        { ...context, check: context.checkIdentity },
      ),
    },
    retention: buildRetention(entries, context),
  };
}

function buildBackup(entries: Entries, context: BuildContext): ClusterConfig['backup'] {
  const get = getter(entries);
  const expression = get<string>('backup.schedule');
  const cron = expression === 'off' ? undefined : expression;
  const timeZone = get<string>('backup.timeZone') ?? 'UTC';
  const jitterMs = get<number>('backup.jitter') ?? 0;
  const gaps = cron !== undefined && checkCron(cron, timeZone, context.now) === undefined ? runGaps(cron, context.now) : undefined;
  const maxAgeMs = get<number>('backup.maxAge') ?? (gaps === undefined ? AGE_WITHOUT_SCHEDULE_MS : 2 * gaps.longestMs + AGE_MARGIN_MS);
  setDefault(entries, 'backup.maxAge', maxAgeMs);
  if (gaps !== undefined && jitterMs >= gaps.shortestMs) {
    const entry = entries.get('backup.jitter')!;
    context.problems.push({
      path: entry.path,
      origin: entry.origin,
      value: formatDuration(jitterMs),
      expected: `less than the ${formatDuration(gaps.shortestMs)} between two runs`,
    });
  }
  if (gaps !== undefined && maxAgeMs < gaps.longestMs) {
    context.warnings.push(
      `${entries.get('backup.maxAge')!.path}: the newest backup is older than ${formatDuration(maxAgeMs)} before each run (${formatDuration(gaps.longestMs)} apart), so /readyz will fail`,
    );
  }
  const stores = get<readonly string[]>('backup.stores') ?? context.stores;
  setDefault(entries, 'backup.stores', stores);
  for (const store of stores.filter((candidate) => !context.stores.includes(candidate))) {
    const entry = entries.get('backup.stores')!;
    context.problems.push({
      path: entry.path,
      origin: entry.origin,
      value: JSON.stringify(store),
      expected: `names of stores (${context.stores.join(', ') || 'none is defined'})`,
      suggestion: didYouMean(closest(store, context.stores)),
    });
  }
  return {
    schedule: { cron, timeZone, jitterMs },
    stores,
    maxAgeMs,
    retries: get<number>('backup.retries') ?? 0,
    retryDelayMs: get<number>('backup.retryDelay') ?? 0,
    maxRate: get<number>('backup.maxRate') ?? 0,
    label: get<string>('backup.label'),
    timeoutMs: get<number>('backup.timeout') ?? 0,
    catchUpMs: get<number>('backup.catchUp') ?? 0,
  };
}

function buildRetention(entries: Entries, context: BuildContext): ClusterConfig['retention'] {
  const get = getter(entries);
  const timeZone = get<string>('retention.timeZone') ?? get<string>('backup.timeZone') ?? 'UTC';
  setDefault(entries, 'retention.timeZone', timeZone);
  const retention = {
    keepLast: get<number>('retention.keepLast') ?? 0,
    keepHourly: get<number>('retention.keepHourly') ?? 0,
    keepDaily: get<number>('retention.keepDaily') ?? 0,
    keepWeekly: get<number>('retention.keepWeekly') ?? 0,
    keepMonthly: get<number>('retention.keepMonthly') ?? 0,
    keepYearly: get<number>('retention.keepYearly') ?? 0,
    keepWithinMs: get<number>('retention.keepWithin') ?? 0,
    timeZone,
    maxRemovals: get<number>('retention.maxRemovals') ?? 0,
  };
  const empty = [
    retention.keepLast,
    retention.keepHourly,
    retention.keepDaily,
    retention.keepWeekly,
    retention.keepMonthly,
    retention.keepYearly,
    retention.keepWithinMs,
  ].every((rule) => rule === 0);
  if (empty && !context.fileless && get<string>('backup.schedule') !== 'off') {
    context.warnings.push(
      `${entries.get('retention.keepLast')!.path.replace(/\.keepLast$/, '')}: no rule is set, so nothing is ever removed and the stores fill up`,
    );
  }
  return retention;
}

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

export function buildDaemon(entries: Entries, context: BuildContext): Omit<Config, 'file' | 'clusters' | 'stores'> {
  const get = getter(entries);
  const listen = (path: string): string | undefined => (get<string>(path) === 'off' ? undefined : get<string>(path));
  const api = {
    listen: listen('api.listen'),
    token: resolveSecret({ entries, path: 'api.token', credentials: ['api-token'], judge: judgeToken }, context),
    certFile: get<string>('api.certFile'),
    keyFile: get<string>('api.keyFile'),
    hosts: get<readonly string[]>('api.hosts') ?? [],
  };
  together(entries, ['api.certFile', 'api.keyFile'], context);
  readable(entries, ['api.certFile', 'api.keyFile'], context);
  if (api.listen !== undefined) {
    if (api.token === undefined) missing(entries, 'api.listen', 'api.tokenFile beside it: whoever reaches the API starts backups', context);
    if (!isLoopback(api.listen) && api.certFile === undefined)
      missing(entries, 'api.listen', 'a loopback address, or api.certFile and api.keyFile beside it', context);
    if (api.listen === get<string>('http.listen') && !api.listen.endsWith(':0'))
      missing(entries, 'api.listen', 'another address than http.listen', context);
  }
  return {
    stateDir: get<string>('stateDir') ?? '',
    log: { level: get<'info'>('log.level') ?? 'info', format: get<'auto'>('log.format') ?? 'auto' },
    http: { listen: listen('http.listen') },
    api,
    daemon: {
      graceMs: get<number>('daemon.grace') ?? 0,
      heavyJobs: get<number>('daemon.heavyJobs') ?? 1,
      sweepAgeMs: get<number>('daemon.sweepAge') ?? 0,
    },
  };
}

/** Loopback in the forms that can stand before the port. A name other than localhost may resolve to anything. */
export function isLoopback(address: string): boolean {
  const host = address.replace(/^https?:\/\//, '').replace(/:\d+$/, '');
  return host === 'localhost' || /^127(\.\d{1,3}){3}$/.test(host) || host === '[::1]';
}

function memberChoice(entries: Entries, endpoints: readonly string[], secure: boolean, context: BuildContext): string {
  const entry = entries.get('member')!;
  const choice = (entry.value as string | undefined) ?? 'leader';
  if (['leader', 'follower', 'learner'].includes(choice)) return choice;
  const endpoint = withScheme(choice, secure);
  const known = endpoints.includes(endpoint) || entries.get('discover')?.value !== false || endpoints.length === 0;
  if (!known)
    context.problems.push({
      path: entry.path,
      origin: entry.origin,
      value: JSON.stringify(choice),
      expected: `leader, follower, learner or one of ${endpoints.join(', ')}`,
    });
  return endpoint;
}

function checkLogin(name: string, entries: Entries, endpoints: readonly string[], context: BuildContext): void {
  const user = entries.get('user')!;
  const secrets = ['password', 'passwordFile'].map((path) => entries.get(path)!).filter((entry) => entry.value !== undefined);
  if (user.value === undefined) {
    for (const entry of secrets) {
      if (entry.origin.kind === 'environment' && entry.origin.name.startsWith('ETCDCTL_'))
        context.warnings.push(`${entry.origin.name} does not count without a user (ETCDCTL_USER or --user)`);
      else context.problems.push({ path: entry.path, origin: entry.origin, expected: 'user beside it' });
    }
    return;
  }
  // Found by resolveSecret, which puts a credential it took in the place of the option.
  if (secrets.length === 0)
    context.problems.push({
      path: user.path,
      origin: user.origin,
      expected: 'passwordFile beside it',
      suggestion: `or ETCDCTL_PASSWORD without a file, or a systemd credential ${name}.etcd-password`,
    });
  const open = endpoints.filter((endpoint) => endpoint.startsWith('http:') && !isLoopback(endpoint));
  if (open.length > 0) context.warnings.push(`${user.path}: the password would travel unencrypted to ${open.join(', ')}`);
}

function judgeIdentity(text: string): string | undefined {
  return /^AGE-SECRET-KEY-(PQ-)?1[0-9A-Z]+\s*$/m.test(text)
    ? undefined
    : 'a private key of age (AGE-SECRET-KEY-1…, as age-keygen writes it)';
}

function judgeCustomerKey(text: string): string | undefined {
  return /^[A-Za-z0-9+/]{43}=$/.test(text.trim()) ? undefined : '32 bytes in base64 (`openssl rand -base64 32` makes them)';
}

function judgeToken(text: string): string | undefined {
  return /^[\x21-\x7e]{16,1024}$/.test(text)
    ? undefined
    : 'a token of 16 to 1024 plain letters without spaces (`openssl rand -hex 32` makes one)';
}

function withScheme(endpoint: string, secure: boolean): string {
  return /^https?:\/\//.test(endpoint) ? endpoint : `${secure ? 'https' : 'http'}://${endpoint}`;
}

function getter(entries: Entries): <T>(path: string) => T | undefined {
  return <T>(path: string) => entries.get(path)?.value as T | undefined;
}

/** A computed default, so that `config print` shows what counts. */
export function setDefault(entries: Entries, path: string, value: unknown): void {
  const entry = entries.get(path)!;
  if (entry.value === undefined && value !== undefined) entries.set(path, { ...entry, value });
}

function together(entries: Entries, paths: readonly [string, string], context: BuildContext): void {
  const [first, second] = paths.map((path) => entries.get(path)!) as [Entry, Entry];
  if ((first.value === undefined) === (second.value === undefined)) return;
  const set = first.value === undefined ? second : first;
  context.problems.push({ path: set.path, origin: set.origin, expected: `${(set === first ? second : first).option.path} beside it` });
}

function readable(entries: Entries, paths: readonly string[], context: BuildContext): void {
  if (!context.check) return;
  for (const path of paths) {
    const entry = entries.get(path);
    if (typeof entry?.value !== 'string') continue;
    const problem = fileProblem(entry.value, context);
    if (problem !== undefined)
      context.problems.push({
        path: entry.path,
        origin: entry.origin,
        value: JSON.stringify(entry.value),
        expected: 'a file that can be read',
        suggestion: problem,
      });
  }
}

function fileProblem(path: string, context: BuildContext): string | undefined {
  const facts = context.files.stat(path);
  if (facts === undefined) return 'there is no such file, or it may not be looked at by this user';
  return facts.kind === 'folder' ? 'it is a folder' : undefined;
}

/** `path` may be set only when `allowed`. */
function needs(entries: Entries, path: string, allowed: boolean, expected: string, context: BuildContext): void {
  const entry = entries.get(path);
  if (!allowed && entry?.value !== undefined) context.problems.push({ path: entry.path, origin: entry.origin, expected });
}

function missing(entries: Entries, path: string, expected: string, context: { readonly problems: ConfigProblem[] }): void {
  const entry = entries.get(path)!;
  const origin: Origin = entry.origin;
  context.problems.push({ path: entry.path, origin, expected });
}
