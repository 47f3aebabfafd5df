/** docs/metrics.md, generated from the metric table. */
import { METRICS, type MetricDefinition } from './metric-table.ts';

const HEAD = `# Metrics

\`GET /metrics\` on the probe listener (127.0.0.1:9378 by default), Prometheus text format 0.0.4.

This page is generated from the metric table in src/telemetry/metric-table.ts; a test holds it current
(\`npx vitest run src/telemetry -u\` writes it again). Names and labels are stable within a major version. Labels take their values from
the configuration, from the table of error codes, or from the words given here: their number is bounded, whatever etcd or a store answers.

| metric | type | labels | meaning |
|---|---|---|---|
`;

const TAIL = `
## Worth an alert

| what | expression |
|---|---|
| the newest backup is too old | \`time() - etcd_warden_backup_last_success_timestamp_seconds{store=""} > on(cluster) group_left etcd_warden_backup_max_age_seconds\` |
| there was never a complete backup | \`etcd_warden_backup_max_age_seconds unless on(cluster) etcd_warden_backup_last_success_timestamp_seconds{store=""}\` |
| backups fail one after the other | \`etcd_warden_backup_consecutive_failures >= 3\` |
| a store lacks copies | \`etcd_warden_backup_copies_missing > 0\` for an hour |
| another cluster, or a history that moved back | \`etcd_warden_generation_unaccepted == 1\` |
| retention does not work, or waits for a store | \`increase(etcd_warden_retention_failures_total[1d]) > 0\` |
| no space for backups | \`etcd_warden_disk_full == 1\` |
| the newest backup is suspect | \`etcd_warden_backup_suspect == 1\` |
| the newest backup on a store is not sound | \`etcd_warden_verify_failed == 1\` |
| nothing was proved again for two days | \`time() - etcd_warden_verify_last_success_timestamp_seconds{level="proved"} > 172800\` |
| a restore would not hold what the backup promises | \`etcd_warden_drill_failed == 1\` |
| no restore was rehearsed for \`drill.maxAge\` | \`etcd_warden_drill_overdue == 1\` for an hour |
| a store cannot be listed | \`etcd_warden_store_reachable == 0\` for an hour |
| a reload was refused | \`etcd_warden_config_reload_failed == 1\` |
| the scheduler stands still | \`time() - etcd_warden_scheduler_last_tick_timestamp_seconds > 300\` |
`;

export function metricsMarkdown(): string {
  const rows = Object.entries<MetricDefinition>(METRICS).map(([name, { type, help, labels, buckets, values }]) => {
    const extra = [buckets === undefined ? undefined : `Buckets: ${buckets.join(', ')}.`, values === undefined ? undefined : `(${values})`];
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${[help, ...extra].filter((part) => part !== undefined).join(' ')} |`;
  });
  return `${HEAD}${rows.join('\n')}\n${TAIL}`;
}
