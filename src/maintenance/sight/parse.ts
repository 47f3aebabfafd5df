/**
 * The few series that count, out of a member's /metrics, read line by line as they come: a page has some 2 000 lines, of which this keeps twenty.
 * Which etcd has which was looked up in its source and is held by test/integration/maintenance/sight.test.ts.
 */

/** What one answer tells; each undefined where this member has no such series. */
export interface MetricsReading {
  /** Id in lower-case hex of who answered. */
  readonly memberId: string | undefined;
  /** --quota-backend-bytes: negative = none; 0 until the member has set its default. */
  readonly quotaBytes: number | undefined;
  /** Read transactions that were open when the database was last committed, the one of every etcd included; a snapshot holds one. */
  readonly openReads: number | undefined;
  /** Calls of Snapshot that the member is answering. */
  readonly snapshotCalls: number | undefined;
  /** Calls of HashKV and Hash that the member is answering. */
  readonly hashCalls: number | undefined;
  /** Calls of Defragment that the member is answering, those among them that wait for another to end. */
  readonly defragmentCalls: number | undefined;
  readonly defragInflight: number | undefined;
  readonly snapshotsApplied: number | undefined;
  readonly snapshotsSent: number | undefined;
  readonly snapshotsReceived: number | undefined;
  /** Seconds since 1970. */
  readonly startedSeconds: number | undefined;
  /** Compactions whose index is done, so that they delete records now or have done so. */
  readonly compactionsBegun: number | undefined;
  readonly compactionsEnded: number | undefined;
  readonly compactRevision: number | undefined;
}

/** The longest line that is taken: etcd's own are below 300 characters. */
const MAX_LINE = 64 * 1024;

const SNAPSHOT = 'grpc_method="Snapshot"';
const DEFRAGMENT = 'grpc_method="Defragment"';
/** Both scan the whole database. */
const HASH = /grpc_method="Hash(KV)?"/;
const STARTED = 'grpc_server_started_total';
const HANDLED = 'grpc_server_handled_total';

/** Names of sums, and of the series that are added up to them. */
const PLAIN: Readonly<Record<string, string>> = {
  etcd_server_quota_backend_bytes: 'quotaBytes',
  etcd_mvcc_db_open_read_transactions: 'openReads',
  etcd_disk_defrag_inflight: 'defragInflight',
  etcd_server_snapshot_apply_in_progress_total: 'snapshotsApplied',
  // One series for each member that one was ever sent to, or came from; none before.
  etcd_network_snapshot_send_inflights_total: 'snapshotsSent',
  etcd_network_snapshot_receive_inflights_total: 'snapshotsReceived',
  process_start_time_seconds: 'startedSeconds',
  etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_count: 'compactionsBegun',
  etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count: 'compactionsEnded',
  etcd_debugging_mvcc_compact_revision: 'compactRevision',
};

export interface MetricsParser {
  /** @throws RangeError on a line without end */
  push(text: string): void;
  /** What was told by now. @returns undefined when it was no etcd's */
  end(): MetricsReading | undefined;
}

export function metricsParser(): MetricsParser {
  const sums = new Map<string, number>();
  let memberId: string | undefined;
  let rest = '';

  function line(text: string): void {
    // Comments and the thousands of lines of the Go runtime and of histogram buckets go no further.
    if (!(text.startsWith('etcd_') || text.startsWith('grpc_server_') || text.startsWith('process_start'))) return;
    const brace = text.indexOf('{');
    const name = text.slice(0, brace === -1 ? text.indexOf(' ') : brace);
    if (name === 'etcd_server_id') memberId = /server_id="([0-9a-f]+)"/.exec(text)?.[1];
    const sum = PLAIN[name] ?? callsOf(name, text);
    if (sum === undefined) return;
    // Label values may hold blanks and braces, numbers may not.
    const value = Number(
      text
        .slice(brace === -1 ? text.indexOf(' ') : text.lastIndexOf('}') + 1)
        .trim()
        .split(' ', 1)[0],
    );
    if (Number.isFinite(value)) sums.set(sum, (sums.get(sum) ?? 0) + value);
  }

  function running(method: string): number | undefined {
    const started = sums.get(`${STARTED} ${method}`);
    return started === undefined ? undefined : Math.max(0, started - (sums.get(`${HANDLED} ${method}`) ?? 0));
  }

  return {
    push(text) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE) throw new RangeError(`a line of more than ${MAX_LINE} characters`);
      for (const one of lines) line(one);
    },
    end() {
      if (rest !== '') line(rest);
      const openReads = sums.get('openReads');
      const quotaBytes = sums.get('quotaBytes');
      if (openReads === undefined && quotaBytes === undefined) return undefined;
      return {
        memberId,
        quotaBytes,
        openReads,
        snapshotCalls: running(SNAPSHOT),
        hashCalls: running('hash'),
        defragmentCalls: running(DEFRAGMENT),
        defragInflight: sums.get('defragInflight'),
        snapshotsApplied: sums.get('snapshotsApplied'),
        snapshotsSent: sums.get('snapshotsSent'),
        snapshotsReceived: sums.get('snapshotsReceived'),
        startedSeconds: sums.get('startedSeconds'),
        compactionsBegun: sums.get('compactionsBegun'),
        compactionsEnded: sums.get('compactionsEnded'),
        compactRevision: sums.get('compactRevision'),
      };
    },
  };
}

/** Calls are counted when they begin, and by their outcome when they end. */
function callsOf(name: string, text: string): string | undefined {
  if (name !== STARTED && name !== HANDLED) return undefined;
  if (text.includes(SNAPSHOT)) return `${name} ${SNAPSHOT}`;
  if (text.includes(DEFRAGMENT)) return `${name} ${DEFRAGMENT}`;
  return HASH.test(text) ? `${name} hash` : undefined;
}
