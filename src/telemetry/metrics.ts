/** The registry of a daemon, made from the metric table. Our own registry, never the library's global one, so that tests can have many. */
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import { ERRORS, WardenError, type ErrorCode } from '../errors.ts';
import { METRICS, type MetricDefinition, type MetricName } from './metric-table.ts';

type Labels<N extends MetricName> = (typeof METRICS)[N]['labels'] extends readonly []
  ? Readonly<Record<string, never>>
  : Readonly<Partial<Record<(typeof METRICS)[N]['labels'][number], string>>>;
type NamesOf<T extends MetricDefinition['type']> = { [N in MetricName]: (typeof METRICS)[N]['type'] extends T ? N : never }[MetricName];

export interface Metrics {
  set<N extends NamesOf<'gauge'>>(name: N, labels: Labels<N>, value: number): void;
  add<N extends NamesOf<'counter'>>(name: N, labels: Labels<N>, by?: number): void;
  observe<N extends NamesOf<'histogram'>>(name: N, labels: Labels<N>, value: number): void;
  /** Takes one series away: a value that is no longer known must not look current. */
  remove<N extends MetricName>(name: N, labels: Labels<N>): void;
  /** Takes every series away whose `cluster` label is this one, when a reload dropped it. */
  forgetCluster(cluster: string): void;
  /** The exposition text. */
  text(): Promise<string>;
  readonly contentType: string;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const gauges = new Map<string, Gauge<string>>();
  const counters = new Map<string, Counter<string>>();
  const histograms = new Map<string, Histogram<string>>();
  const seen = new Map<string, Map<string, Record<string, string>>>();
  for (const [name, definition] of Object.entries<MetricDefinition>(METRICS)) {
    const common = { name, help: definition.help, labelNames: definition.labels, registers: [registry] };
    if (definition.type === 'gauge') gauges.set(name, new Gauge(common));
    else if (definition.type === 'counter') counters.set(name, new Counter(common));
    else histograms.set(name, new Histogram({ ...common, buckets: [...(definition.buckets ?? [])] }));
    seen.set(name, new Map());
  }

  function note(name: string, labels: object): Record<string, string> {
    const plain = { ...labels } as Record<string, string>;
    if ('cluster' in plain) seen.get(name)?.set(JSON.stringify(plain), plain);
    return plain;
  }

  function drop(name: string, labels: Record<string, string>): void {
    gauges.get(name)?.remove(labels);
    counters.get(name)?.remove(labels);
    histograms.get(name)?.remove(labels);
    seen.get(name)?.delete(JSON.stringify(labels));
  }

  // process.cpuUsage() is a total since the start; a counter wants differences.
  let cpuSeconds = 0;
  function process_(): void {
    const { user, system } = process.cpuUsage();
    const total = (user + system) / 1e6;
    counters.get('process_cpu_seconds_total')?.inc(Math.max(0, total - cpuSeconds));
    cpuSeconds = total;
    gauges.get('process_resident_memory_bytes')?.set(process.memoryUsage.rss());
  }
  gauges.get('process_start_time_seconds')?.set(Math.round(Date.now() / 1000 - process.uptime()));

  return {
    set: (name, labels, value) => gauges.get(name)?.set(note(name, labels), value),
    add: (name, labels, by = 1) => counters.get(name)?.inc(note(name, labels), by),
    observe: (name, labels, value) => histograms.get(name)?.observe(note(name, labels), value),
    remove: (name, labels) => drop(name, { ...labels } as Record<string, string>),
    forgetCluster(cluster) {
      for (const [name, series] of seen) {
        for (const labels of series.values()) if (labels['cluster'] === cluster) drop(name, labels);
      }
    },
    async text() {
      process_();
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}

/** The label for an error: its code when the table knows it, else `failed`. Whatever a server writes into an error never becomes a label. */
export function codeLabel(error: unknown): ErrorCode {
  const code = error instanceof WardenError ? error.code : (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'failed';
}
