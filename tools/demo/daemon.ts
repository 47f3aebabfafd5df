/** The real executable, as a user would start it, with its log read line by line. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const EXECUTABLE = fileURLToPath(new URL('../../bin/etcd-warden', import.meta.url));

export interface LogLine {
  readonly message: string;
  readonly level: string;
  readonly [field: string]: unknown;
}

export interface DaemonProcess {
  onLine(listener: (line: LogLine) => void): void;
  /** The next line with this message that is logged from now on. Rejects when the daemon ends first. */
  next(message: string): Promise<LogLine>;
  stop(): Promise<void>;
}

export function startDaemon(configPath: string, signal: AbortSignal): DaemonProcess {
  const child = spawn(process.execPath, [EXECUTABLE, 'run', '--config', configPath, '--log-format', 'json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const listeners = new Set<(line: LogLine) => void>();
  const fates = new Set<(error: Error) => void>();
  let errors = '';
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', hear);
  void exited.then(() => {
    for (const fail of fates) fail(new Error(`the daemon ended with code ${child.exitCode}: ${errors.trim()}`));
  });

  function hear(text: string): void {
    const line = parse(text);
    if (line !== undefined) for (const listener of listeners) listener(line);
  }

  return {
    onLine: (listener) => void listeners.add(listener),
    next: (message) =>
      new Promise((resolve, reject) => {
        const done = (): void => {
          listeners.delete(listen);
          fates.delete(reject);
          signal.removeEventListener('abort', abort);
        };
        const listen = (line: LogLine): void => {
          if (line.message !== message) return;
          done();
          resolve(line);
        };
        const abort = (): void => {
          done();
          reject(
            signal.reason instanceof Error
              ? new Error(`while waiting for "${message}": ${signal.reason.message}; the daemon's last words: ${errors.trim().slice(-500)}`)
              : new Error('stopped'),
          );
        };
        listeners.add(listen);
        fates.add(reject);
        signal.addEventListener('abort', abort);
        if (signal.aborted) abort();
      }),
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
    },
  };
}

/** Runs a verb to its end and returns what it printed. */
export async function runCommand(words: readonly string[], signal: AbortSignal): Promise<string> {
  const child = spawn(process.execPath, [EXECUTABLE, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal,
    env: { ...process.env, COLUMNS: '200' },
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`etcd-warden ${words[0]} ended with code ${code}`);
  return text.trimEnd();
}

function parse(text: string): LogLine | undefined {
  try {
    return JSON.parse(text.replace(/^<\d>/, '')) as LogLine;
  } catch {
    return undefined; // a stack trace or a warning of the runtime: kept for the error message, not for the story
  }
}
