import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { guardProcess } from '../test/support/watchdog.ts';

/** One run of a program, process start included. */
export interface Run {
  readonly seconds: number;
  /** User and system time. */
  readonly cpuSeconds: number;
  /** VmHWM: the most memory that was resident at one time, in the process or in one that it has started. */
  readonly peakRssMiB: number;
  readonly stdout: string;
}

/** How often /proc is read. The peak only grows, so nothing is missed but what a program takes in its last moments. */
const SAMPLE_MS = 10;
/** USER_HZ, the unit of times in /proc/PID/stat, is 100 on every architecture of Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const MIB = 1024 * 1024;

/** @throws Error when the exit code is not 0 */
export async function measure(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  const started = performance.now();
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
  });
  guardProcess(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  let usage = { cpuSeconds: 0, peakRssMiB: 0 };
  let peakOfJobs = 0;
  const timer = setInterval(() => {
    const { pid = 0 } = child;
    usage = processUsage(pid) ?? usage;
    peakOfJobs = Math.max(peakOfJobs, ...childrenOf(pid).map((job) => processUsage(job)?.peakRssMiB ?? 0));
  }, SAMPLE_MS);
  let ended = 0;
  child.once('exit', () => (ended = performance.now()));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  clearInterval(timer);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code ?? signal}:\n${stdout}${stderr}`);
  return { seconds: (ended - started) / 1000, cpuSeconds: usage.cpuSeconds, peakRssMiB: Math.max(usage.peakRssMiB, peakOfJobs), stdout };
}

/** Undefined when the process is gone. */
export function processUsage(pid: number): { cpuSeconds: number; peakRssMiB: number; rssMiB: number } | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const peak = /^VmHWM:\s+(\d+)/m.exec(status)?.[1];
    // A process that has ended and was not yet waited for has no memory any more.
    if (peak === undefined) return undefined;
    const kib = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024;
    // Fields 14 and 15 of proc(5); the second may hold spaces and parentheses.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop()!.split(' ');
    return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, peakRssMiB: kib('VmHWM'), rssMiB: kib('VmRSS') };
  } catch {
    return undefined;
  }
}

/** The processes that the process has started, directly; none when it is gone. */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** Everything that was written before is on the disk: no run pays for the one before. */
export async function settle(): Promise<void> {
  await measure('sync', []);
}

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** A table as Markdown wants it, which people can read as well. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

/** A limit and whether it was kept, for the last column. */
export function verdict(value: number, limit: number, unit = ''): string {
  return `${value.toFixed(2)}${unit} ${value <= limit ? '<=' : '> OVER'} ${limit}${unit}`;
}

export { MIB };
