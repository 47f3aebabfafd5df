/** Where output goes: what kind of place it is, and how wide. One instance a process; tests build their own. */
import { styleText } from 'node:util';

export interface Output {
  /** Final results. */
  out(text: string): void;
  /** Everything else: progress, warnings, errors. */
  err(text: string): void;
  /** Columns of stdout, Infinity when it is not a terminal. */
  readonly width: number;
  /** stderr is a terminal: progress may rewrite its line. */
  readonly live: boolean;
  style(name: 'bold' | 'dim' | 'red' | 'yellow' | 'green', text: string): string;
}

/**
 * The process's own streams. NO_COLOR (any value but empty, no-color.org) and a dumb terminal turn styles off.
 * COLUMNS is honoured for tests and for pipes into pagers.
 */
export function terminalOutput(env: NodeJS.ProcessEnv = process.env): Output {
  const columns = Number(env['COLUMNS']);
  const width = Number.isInteger(columns) && columns > 0 ? columns : process.stdout.isTTY ? process.stdout.columns : Infinity;
  const color = process.stdout.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  return {
    out: (text) => {
      process.stdout.write(`${text}\n`);
    },
    err: (text) => {
      process.stderr.write(`${text}\n`);
    },
    width,
    live: process.stderr.isTTY && env['TERM'] !== 'dumb',
    style: (name, text) => (color ? styleText(name, text, { validateStream: false }) : text),
  };
}

/**
 * A reader that goes away (`etcd-warden list | head -1`) is not an error of ours: end quietly with what SIGPIPE would give,
 * instead of an EPIPE stack trace. Node ignores SIGPIPE, so it surfaces as an error event on the stream.
 */
export function endQuietlyOnClosedPipe(exit: (code: number) => void = (code) => process.exit(code)): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error;
      // Work that others count on (a running backup) must not die because nobody reads its report: only stop writing.
      if (!keepWorking) exit(141);
    });
  }
}

let keepWorking = false;

/** From here on a closed pipe only silences the output: a verb that changes something is under way. */
export function keepWorkingWithoutReader(): void {
  keepWorking = true;
}
