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
  const { defragInflight, defragmentCalls, snapshotsApplied, snapshotsSent, snapshotsReceived, startedSeconds } = last;
  return {
    snapshotStreams: streamsOf(readings),
    // A call that waits for another to end, or for its turn, shows in the count of calls alone.
    defragInflight: any(defragInflight, defragmentCalls),
    raftSnapshotInflight: any(snapshotsApplied, snapshotsSent, snapshotsReceived),
    startedMs: startedSeconds === undefined ? undefined : startedSeconds * 1000,
  };
}

/** Whether one more reading would tell more: read transactions are open that no call of Snapshot explains. */
export function wantsAnother(readings: readonly MetricsReading[]): boolean {
  const last = readings.at(-1);
  if (last?.openReads === undefined || (last.snapshotCalls ?? 0) > 0) return false;
  return readings.every(({ openReads = 0 }) => openReads > OWN_READS);
}

/** The counters are of this process: what a stop interrupted begins again with the next, from zero. */
export function compactionRuns({ compactionsBegun, compactionsEnded }: MetricsReading): boolean | undefined {
  return compactionsBegun === undefined || compactionsEnded === undefined ? undefined : compactionsBegun > compactionsEnded;
}

/**
 * Two witnesses. The calls of Snapshot that are being answered: exact and of this moment. And the read transactions: those of long ranges come and go, that of a
 * stream stays. etcd counts these only when it commits, so in a cluster that nobody writes to the number is as old as the last write, and counts for nothing
 * unless a commit came between two readings, or nothing else is known.
 */
function streamsOf(readings: readonly MetricsReading[]): number | undefined {
  const calls = readings.at(-1)?.snapshotCalls;
  const open = readings.flatMap(({ openReads }) => openReads ?? []);
  if (open.length === 0) return calls;
  const beyond = Math.max(0, Math.min(...open) - OWN_READS);
  if (calls === undefined) return beyond;
  const fresh = readings.some(({ commits }, at) => at > 0 && commits !== readings[at - 1]?.commits);
  return fresh ? Math.max(calls, beyond) : calls;
}

function any(...counts: readonly (number | undefined)[]): boolean | undefined {
  const known = counts.filter((one) => one !== undefined);
  return known.length === 0 ? undefined : known.some((one) => one > 0);
}
