/** What members answer while nobody leads, and asking again until somebody does: a machine that stands still for a second is enough for an election. */
import { until } from './processes.ts';

/** Nothing was done, whatever was asked: api/v3rpc/rpctypes/error.go, raft.go ErrProposalDropped, v3_server.go. `unhealthy cluster`: for five seconds after. */
const NOTHING_DONE = /raft proposal dropped|etcdserver: (no leader|not capable|too many requests|unhealthy cluster)/;
/** May have been done: only what reads is asked again. */
const LEFT_OPEN =
  /etcdserver: (leader changed|request timed out|server stopped)|raft: stopped|UNAVAILABLE|DEADLINE_EXCEEDED|context deadline exceeded/;

/** First or second words of what changes nothing. */
const READING = new Set(['get', 'endpoint', 'list', 'status', 'save', 'timetolive']);

/** Whether a line of etcdctl changes nothing. */
export function readsOnly(args: readonly string[]): boolean {
  return args.slice(0, 2).some((word) => READING.has(word));
}

/** @param reads whether it may be asked again after an answer that leaves open what happened */
function passes(error: unknown, reads: boolean): boolean {
  const { message } = error as Error;
  return NOTHING_DONE.test(message) || (reads && LEFT_OPEN.test(message));
}

/** Asks until the answer is none of an election. @throws the last answer, when the elections do not end; any other failure at once */
export async function patiently<T>(
  ask: () => Promise<T>,
  { reads = true, timeoutMs = 60_000, everyMs = 100 }: { reads?: boolean; timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  let answer: { value: T } | undefined;
  let refusal = '';
  await until(
    async () => {
      try {
        answer = { value: await ask() };
        return true;
      } catch (error) {
        if (!passes(error, reads)) throw error;
        refusal = (error as Error).message;
        return false;
      }
    },
    () => refusal,
    { timeoutMs, everyMs },
  );
  return answer!.value;
}
