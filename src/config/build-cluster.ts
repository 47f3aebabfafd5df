/** The entries of one cluster to its part of the configuration, and the checks that need more than one option. */
import { buildMaintenance } from './build-maintenance.ts';
import { buildDrill, buildRestore } from './build-restore.ts';
import { checkCron, runGaps } from './cron.ts';
import { getter, isLoopback, readable, setDefault, together, type BuildContext, type Entries } from './entries.ts';
import { didYouMean } from './formats.ts';
import { resolveSecret } from './secret.ts';
import { closest } from './suggest.ts';
import type { ClusterConfig } from './types.ts';
import { formatDuration } from './units.ts';

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
    index: { enabled: get<boolean>('index.enabled') ?? true },
    proof: buildProof(entries),
    maintenance: buildMaintenance(entries, tls, context),
    verify: buildVerify(entries),
    restore: buildRestore(entries),
    drill: buildDrill(entries),
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

function buildVerify(entries: Entries): ClusterConfig['verify'] {
  const get = getter(entries);
  const cron = get<string>('verify.schedule') ?? 'off';
  return {
    schedule: { cron: cron === 'off' ? undefined : cron, timeZone: get<string>('backup.timeZone') ?? 'UTC', jitterMs: 0 },
    level: get<'proved'>('verify.level') ?? 'proved',
    everyMs: get<number>('verify.every') ?? 0,
  };
}

function buildProof(entries: Entries): ClusterConfig['proof'] {
  const get = getter(entries);
  const cron = get<string>('proof.window') ?? 'off';
  return {
    enabled: get<boolean>('proof.enabled') ?? true,
    members: get<'follower' | 'all'>('proof.members') ?? 'follower',
    allEveryMs: get<number>('proof.allEvery') ?? 0,
    maxStallMs: get<number>('proof.maxStall') ?? 0,
    timeoutMs: get<number>('proof.timeout') ?? 0,
    window:
      cron === 'off'
        ? undefined
        : { cron, timeZone: get<string>('backup.timeZone') ?? 'UTC', lengthMs: get<number>('proof.windowLength') ?? 0 },
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

function withScheme(endpoint: string, secure: boolean): string {
  return /^https?:\/\//.test(endpoint) ? endpoint : `${secure ? 'https' : 'http'}://${endpoint}`;
}
