/** What a restore makes and how it is rehearsed, out of the entries of a cluster. */
import { getter, type Entries } from './entries.ts';
import type { DrillConfig, RestoreConfig } from './types.ts';

export function buildRestore(entries: Entries): RestoreConfig {
  const get = getter(entries);
  return {
    initialCluster: get<string>('restore.initialCluster'),
    dataDir: get<string>('restore.dataDir') ?? get<string>('dataDir'),
    walDir: get<string>('restore.walDir'),
    platform: get<RestoreConfig['platform']>('restore.platform') ?? 'auto',
    etcdVersion: get<string>('restore.etcdVersion'),
    builder: get<RestoreConfig['builder']>('restore.builder') ?? 'auto',
    etcdutl: get<string>('restore.etcdutl'),
  };
}

export function buildDrill(entries: Entries): DrillConfig {
  const get = getter(entries);
  const cron = get<string>('drill.schedule') ?? 'off';
  return {
    schedule: { cron: cron === 'off' ? undefined : cron, timeZone: get<string>('backup.timeZone') ?? 'UTC', jitterMs: 0 },
    maxAgeMs: get<number>('drill.maxAge') ?? 0,
    timeoutMs: get<number>('drill.timeout') ?? 0,
    etcd: get<string>('drill.etcd'),
    folder: get<string>('drill.folder'),
    sharedDisk: get<boolean>('drill.sharedDisk') ?? false,
    sample: get<number>('drill.sample') ?? 0,
  };
}
