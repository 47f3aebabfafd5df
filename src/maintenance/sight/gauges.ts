/** What consecutive readings of one member's /metrics tell together. Pure. */
import type { MemberGauges } from '../planner/types.ts';
import type { MetricsReading } from './parse.ts';

/** etcd keeps one read transaction open all the time, for reads. */
const OWN_READS = 1;

/**
 * @param readings of one member, oldest first, some 250 ms apart; at least one
 */
export function gaugesOf(readings: readonly MetricsReading[]): MemberGauges {
  const last = readings.at(-1);
  if (last === undefined) throw new RangeError('no reading');
  const { hashCalls, defragInflight, defragmentCalls, snapshotsApplied, snapshotsSent, snapshotsReceived, startedSeconds } = last;
  return {
    snapshotStreams: streamsOf(readings),
    hashCalls,
    // A call that waits for another to end, or for its turn, shows in the count of calls alone.
    defragInflight: any(defragInflight, defragmentCalls),
    raftSnapshotInflight: any(snapshotsApplied, snapshotsSent, snapshotsReceived),
    startedMs: startedSeconds === undefined ? undefined : startedSeconds * 1000,
  };
}

/** Whether one more reading would tell more. */
export function wantsAnother(readings: readonly MetricsReading[]): boolean {
  return readings.every(({ snapshotCalls, openReads = 0 }) => snapshotCalls === undefined && openReads > OWN_READS);
}

/** The counters are of this process: what a stop interrupted begins again with the next, from zero. */
export function compactionRuns({ compactionsBegun, compactionsEnded }: MetricsReading): boolean | undefined {
  return compactionsBegun === undefined || compactionsEnded === undefined ? undefined : compactionsBegun > compactionsEnded;
}

/**
 * The calls of Snapshot that are being answered are exact and of this moment. The read transactions are not: etcd counts them when it commits, so that in a
 * cluster that nobody writes to the number is as old as the last write (3.6.16 told of none for as long as a stream lasted, 3.4.23 of one that was over), and
 * with clients that read long ranges one after the other there is always one more than its own (measured: ranges of 10 000 keys, 2 or 3 for seconds). So they
 * count only where calls are not counted, and then the least of several readings.
 */
function streamsOf(readings: readonly MetricsReading[]): number | undefined {
  const calls = readings.at(-1)?.snapshotCalls;
  if (calls !== undefined) return calls;
  const open = readings.flatMap(({ openReads }) => openReads ?? []);
  return open.length === 0 ? undefined : Math.max(0, Math.min(...open) - OWN_READS);
}

function any(...counts: readonly (number | undefined)[]): boolean | undefined {
  const known = counts.filter((one) => one !== undefined);
  return known.length === 0 ? undefined : known.some((one) => one > 0);
}
