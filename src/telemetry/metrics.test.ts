import { describe, expect, test } from 'vitest';
import { ERRORS, WardenError } from '../errors.ts';
import { METRICS, type MetricDefinition } from './metric-table.ts';
import { metricsMarkdown } from './metrics-document.ts';
import { codeLabel, createMetrics } from './metrics.ts';

describe('metrics', () => {
  test('docs/metrics.md is what the metric table says', async () => {
    await expect(metricsMarkdown()).toMatchFileSnapshot('../../docs/metrics.md');
  });

  test('names and labels follow the Prometheus conventions', () => {
    for (const [name, { type, help, labels, buckets }] of Object.entries<MetricDefinition>(METRICS)) {
      expect(name).toMatch(/^(etcd_warden|process)_[a-z_]+$/);
      expect(name.endsWith('_total'), `${name}: counters, and only they, end in _total`).toBe(type === 'counter');
      expect(help).toMatch(/\.$/);
      for (const label of labels) expect(label).toMatch(/^[a-z_]+$/);
      expect(buckets !== undefined).toBe(type === 'histogram');
    }
  });

  test('ten thousand different errors make no more series than the error table has codes', async () => {
    const metrics = createMetrics();
    for (let i = 0; i < 10_000; i += 1) {
      const error = Object.assign(new Error(`request ${i} failed`), { code: `E${i}` });
      metrics.add('etcd_warden_backup_failures_total', { cluster: 'prod', code: codeLabel(error) });
    }
    for (const code of Object.keys(ERRORS)) {
      const error = new WardenError(code as keyof typeof ERRORS, 'x');
      metrics.add('etcd_warden_backup_failures_total', { cluster: 'prod', code: codeLabel(error) });
    }
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('etcd_warden_backup_failures_total{'));
    expect(lines).toHaveLength(Object.keys(ERRORS).length);
    expect(lines.find((line) => line.includes('code="failed"'))).toMatch(/ 10001$/);
  });

  test('a code that is only in the prototype chain is not a code', () => {
    expect(codeLabel({ code: 'constructor' })).toBe('failed');
    expect(codeLabel(undefined)).toBe('failed');
    expect(codeLabel({ code: 'timeout' })).toBe('timeout');
  });

  test('a cluster that a reload dropped leaves no series behind', async () => {
    const metrics = createMetrics();
    for (const cluster of ['gone', 'stays']) {
      metrics.set('etcd_warden_leader', { cluster }, 1);
      metrics.add('etcd_warden_backups_total', { cluster, outcome: 'complete' });
      metrics.observe('etcd_warden_backup_duration_seconds', { cluster }, 3);
    }
    metrics.forgetCluster('gone');
    const text = await metrics.text();
    expect(text).not.toContain('gone');
    expect(text).toContain('etcd_warden_leader{cluster="stays"} 1');
    expect(text).toContain('etcd_warden_backup_duration_seconds_bucket{le="5",cluster="stays"} 1');
  });

  test('the daemon measures itself, and a counter never goes back', async () => {
    const metrics = createMetrics();
    const value = async (): Promise<number> => Number(/^process_cpu_seconds_total (.*)$/m.exec(await metrics.text())?.[1]);
    const first = await value();
    expect(first).toBeGreaterThan(0);
    expect(await value()).toBeGreaterThanOrEqual(first);
    expect(await metrics.text()).toMatch(/^process_resident_memory_bytes \d{7,}$/m);
  });
});
