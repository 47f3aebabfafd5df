/** How busy the machine is with other things: a freeze of one member takes twice as long beside somebody's compiler. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { processUsage } from './measure.ts';

/** USER_HZ, as in measure.ts. */
const TICKS_PER_SECOND = 100;
/** Of all cores. What is measured idles at a few percent. */
const QUIET_SHARE = 0.2;
const LOOK_MS = 2_000;

/** Waits until the machine has had little to do for two seconds, and no longer than the limit: then it is measured as it is. */
export async function quiet(limitMs: number): Promise<void> {
  const until = performance.now() + limitMs;
  while (performance.now() < until) {
    const before = busySeconds();
    await delay(LOOK_MS);
    if ((busySeconds() - before) / (LOOK_MS / 1000) / availableParallelism() < QUIET_SHARE) return;
  }
}

/**
 * Measures what others take of the machine until it is called again.
 * @param pids the processes that are part of what is measured, besides this one
 * @returns their share of all cores, 0 to 1, when it is told what else was part of it, in seconds of a core
 */
export function others(pids: readonly number[]): (alsoOurs: number) => number {
  const ours = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6 + pids.reduce((sum, pid) => sum + (processUsage(pid)?.cpuSeconds ?? 0), 0);
  };
  const start = { at: performance.now(), busy: busySeconds(), ours: ours() };
  return (alsoOurs) => {
    const seconds = (performance.now() - start.at) / 1000;
    const foreign = busySeconds() - start.busy - (ours() - start.ours) - alsoOurs;
    return Math.max(0, foreign / seconds / availableParallelism());
  };
}

/** Of all cores together, since the machine was started; what the host of a virtual machine gave to others counts as theirs. */
function busySeconds(): number {
  // user, nice, system, idle, iowait, irq, softirq, steal of proc(5)
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = /^cpu +(.*)$/m
    .exec(readFileSync('/proc/stat', 'utf8'))![1]!
    .split(' ')
    .map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}
