/** How a cluster is kept inside its quota, out of its entries. */
import { getter, readable, together, type BuildContext, type Entries } from './entries.ts';
import type { ClusterConfig, MaintenanceConfig } from './types.ts';

const METRICS_URL = /^https?:\/\/(\{host\}|\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?(\/[\x21-\x7e]*)?$/;

export function buildMaintenance(entries: Entries, tls: ClusterConfig['tls'], context: BuildContext): MaintenanceConfig {
  const get = getter(entries);
  const number = (path: string): number => get<number>(`maintenance.${path}`) ?? 0;
  const yes = (path: string): boolean => get<boolean>(`maintenance.${path}`) ?? false;
  const timeZone = get<string>('backup.timeZone') ?? 'UTC';
  const cron = (path: string): string | undefined => {
    const text = get<string>(`maintenance.${path}`) ?? 'off';
    return text === 'off' ? undefined : text;
  };
  const window = cron('window');
  together(entries, ['maintenance.metricsCertFile', 'maintenance.metricsKeyFile'], context);
  readable(entries, ['maintenance.metricsCaFile', 'maintenance.metricsCertFile', 'maintenance.metricsKeyFile'], context);
  return {
    enabled: get<boolean>('maintenance.enabled') ?? true,
    schedule: { cron: cron('schedule'), timeZone, jitterMs: 0 },
    window: window === undefined ? undefined : { cron: window, timeZone, lengthMs: number('windowLength') },
    compaction: get<'auto' | 'on' | 'off'>('maintenance.compaction') ?? 'auto',
    keep: get<MaintenanceConfig['keep']>('maintenance.keep') ?? { ms: 0 },
    emergencyKeep: { revisions: number('emergencyKeepRevisions'), ms: number('emergencyKeep') },
    quotaShare: number('quotaShare') / 100,
    freeShare: number('freeShare') / 100,
    minFree: number('minFree'),
    minGain: number('minGain'),
    cooldownMs: number('cooldown'),
    maxFreezeMs: number('maxFreeze'),
    allowSingleMember: yes('allowSingleMember'),
    allowHazardousVersions: yes('allowHazardousVersions'),
    restartQuietMs: number('restartQuiet'),
    settleMs: number('settle'),
    quota: get<number>('maintenance.quota'),
    metrics: {
      url: metricsUrl(entries, context),
      caFile: get<string>('maintenance.metricsCaFile') ?? tls.caFile,
      certFile: get<string>('maintenance.metricsCertFile') ?? tls.certFile,
      keyFile: get<string>('maintenance.metricsKeyFile') ?? tls.keyFile,
    },
  };
}

function metricsUrl(entries: Entries, context: BuildContext): string | undefined {
  const entry = entries.get('maintenance.metricsUrl');
  if (entry === undefined || typeof entry.value !== 'string') return undefined;
  if (METRICS_URL.test(entry.value)) return entry.value;
  context.problems.push({
    path: entry.path,
    origin: entry.origin,
    value: JSON.stringify(entry.value),
    expected: 'an address such as http://{host}:2381/metrics',
  });
  return undefined;
}
