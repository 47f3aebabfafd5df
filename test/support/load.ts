import { setTimeout as delay } from 'node:timers/promises';
import { patiently } from './elections.ts';
import { seeded, type Random } from './random.ts';
import type { Rpc } from './rpc.ts';
import { encode, integer, messages } from './wire.ts';

/** etcd refuses requests above 1.5 MiB and transactions above 128 operations. */
const MAX_REQUEST_BYTES = 1024 * 1024;
const MAX_PUTS = 100;

export interface FillOptions {
  readonly keys: number;
  /** Number of the first one; 0 when not given. */
  readonly first?: number;
  readonly valueBytes: number;
  readonly seed?: number;
  /** Text like that of Kubernetes objects, which zstd -1 makes about five times smaller; otherwise random bytes. */
  readonly compressible?: boolean;
  /** Keys are this and eight digits. */
  readonly prefix?: string;
  readonly onProgress?: (keysWritten: number) => void;
}

export interface Filled {
  readonly keys: number;
  readonly revision: bigint;
}

/** Writes many keys fast: transactions of up to 100 puts, four under way. The keys and values depend on the seed alone, their revisions do not. */
export async function fill(rpcs: readonly Rpc[], options: FillOptions): Promise<Filled> {
  const { keys, first = 0, valueBytes, seed = 1, compressible = true, prefix = '/fill/', onProgress } = options;
  const batch = Math.max(1, Math.min(MAX_PUTS, Math.floor(MAX_REQUEST_BYTES / (valueBytes + prefix.length + 32))));
  let next = 0;
  let done = 0;
  let revision = 0n;
  async function work(rpc: Rpc): Promise<void> {
    while (next < keys) {
      const from = next;
      const to = (next = Math.min(keys, from + batch));
      // Seeded by batch, so that the order in which the workers come does not matter.
      const value = values(seed * 1_000_003 + from, valueBytes, compressible);
      const puts: [number, Buffer][] = [];
      for (let key = from; key < to; key++) {
        const put = encode([1, prefix + String(first + key).padStart(8, '0')], [2, value()]);
        puts.push([2, encode([2, put])]);
      }
      // The same keys and values once more do no harm but to the count of revisions.
      const reply = await patiently(() => rpc.call('etcdserverpb.KV/Txn', encode(...puts), { timeoutMs: 60_000 }));
      const written = integer(messages(reply, 1)[0]!, 3);
      if (written > revision) revision = written;
      done += to - from;
      onProgress?.(done);
    }
  }
  await Promise.all(Array.from({ length: 4 }, (_, worker) => work(rpcs[worker % rpcs.length]!)));
  return { keys, revision };
}

/** A source of values; every one differs, each comes anew from the seed. */
export function values(seed: number, valueBytes: number, compressible: boolean): () => Buffer {
  const random = seeded(seed);
  if (!compressible) return () => random.fill(Buffer.allocUnsafe(valueBytes));
  return () => {
    const value = Buffer.allocUnsafe(valueBytes);
    for (let at = 0; at < valueBytes;) at += value.write(fragment(random), at, 'latin1');
    return value;
  };
}

/** About 320 bytes as an API server writes them, a fifth of it unlike anything before. */
function fragment(random: Random): string {
  const noise = random.fill(Buffer.allocUnsafe(64)).toString('hex');
  return (
    `{"metadata":{"name":"web-${noise.slice(0, 8)}","namespace":"${NAMESPACES[random.below(NAMESPACES.length)]}","uid":"${noise.slice(8, 40)}",` +
    `"labels":{"app.kubernetes.io/managed-by":"helm","helm.sh/chart-digest":"${noise.slice(40)}"},"generation":${random.below(9)}},` +
    `"status":{"phase":"Running","restarts":${random.below(50)}}}`
  );
}

const NAMESPACES = ['default', 'kube-system', 'monitoring', 'ingress-nginx', 'payments', 'cert-manager'];

export interface WriterCounters {
  readonly written: number;
  readonly failed: number;
  /** The longest time between two acknowledged writes, the time since the last one included. */
  readonly longestGapMs: number;
  /** Revision of the last acknowledged write. */
  readonly revision: bigint;
}

export interface Writer {
  counters(): WriterCounters;
  stop(): Promise<WriterCounters>;
}

/** Puts one small key after the other until it is stopped, going on to the next endpoint when one fails. */
export function startWriter(rpcs: readonly Rpc[], options: { perSecond?: number; prefix?: string; valueBytes?: number } = {}): Writer {
  const { perSecond = 100, prefix = '/writer/', valueBytes = 64 } = options;
  const stopping = new AbortController();
  const random = seeded(7);
  let written = 0;
  let failed = 0;
  let revision = 0n;
  let longestGapMs = 0;
  let last = performance.now();
  let use = 0;

  async function work(): Promise<void> {
    for (let key = 0; !stopping.signal.aborted; key++) {
      const value = random.fill(Buffer.allocUnsafe(valueBytes));
      try {
        // Long: a machine that stands still for a second is no failure of the cluster.
        const reply = await rpcs[use % rpcs.length]!.call('etcdserverpb.KV/Put', encode([1, `${prefix}${key % 1000}`], [2, value]), {
          timeoutMs: 5_000,
        });
        revision = integer(messages(reply, 1)[0]!, 3);
        written++;
        longestGapMs = gap();
        last = performance.now();
      } catch {
        // Faults are what the tests make: they are counted.
        failed++;
        use++;
      }
      await delay(1000 / perSecond, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }
  function gap(): number {
    return Math.max(longestGapMs, performance.now() - last);
  }
  function counters(): WriterCounters {
    return { written, failed, longestGapMs: gap(), revision };
  }

  const working = work();
  return {
    counters,
    async stop() {
      stopping.abort();
      await working;
      return counters();
    },
  };
}
