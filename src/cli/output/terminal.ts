/** Where output goes: what kind of place it is, and how wide. One instance a process; tests build their own. */
import { styleText } from 'node:util';

export interface Output {
  /** Final results. */
  out(text: string): void;
  /**
   * A piece of a result as it is, without a newline added: for answers that do not fit into memory. Resolves when there is room for the next one, so that
   * a slow reader slows us down instead of filling the memory.
   */
  write(piece: string | Buffer): Promise<void>;
  /** Everything else: progress, warnings, errors. */
  err(text: string): void;
  /** Puts this text into the last line of a live stderr; an empty one clears it. */
  rewrite(text: string): void;
  /** stdout is a terminal: no place for binary data. */
  readonly terminal: boolean;
  /** Columns of stdout, Infinity when it is not a terminal. */
  readonly width: number;
  /** Columns of stderr. */
  readonly errWidth: number;
  /** stderr is a terminal: progress may rewrite its line. */
  readonly live: boolean;
  /** For what goes to stderr. */
  style(name: 'red' | 'yellow', text: string): string;
}

/** What is taken for the width of a terminal that does not tell (a serial console, `docker run -t`). */
const USUAL_WIDTH = 80;

/**
 * The process's own streams. NO_COLOR (any value but empty, no-color.org) and a dumb terminal turn styles off.
 * COLUMNS is honoured for tests and for pipes into pagers.
 */
export function terminalOutput(
  env: NodeJS.ProcessEnv = process.env,
  { stdout, stderr }: { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream } = process,
): Output {
  const wanted = Number(env['COLUMNS']);
  const widthOf = (stream: NodeJS.WriteStream): number => {
    if (Number.isInteger(wanted) && wanted > 0) return wanted;
    return stream.isTTY ? stream.columns || USUAL_WIDTH : Infinity;
  };
  const live = stderr.isTTY && env['TERM'] !== 'dumb';
  const color = live && !env['NO_COLOR'];
  return {
    out: (text) => {
      stdout.write(`${text}\n`);
    },
    write: (piece) =>
      new Promise((resolve) => {
        // A failure (a closed pipe) is told by the error event, which ends the process or silences the output (below).
        stdout.write(piece, () => resolve());
      }),
    err: (text) => {
      stderr.write(`${text}\n`);
    },
    rewrite: (text) => {
      stderr.write(`\r\u001b[K${text}`);
    },
    terminal: stdout.isTTY,
    width: widthOf(stdout),
    errWidth: widthOf(stderr),
    live,
    style: (name, text) => (color ? styleText(name, text, { validateStream: false }) : text),
  };
}

/** What a shell reports for a program that SIGPIPE ended: 128 + 13. */
const SIGPIPE_EXIT = 141;

/**
 * A reader that goes away (`etcd-warden list | head -1`) is not an error of ours: end quietly with what SIGPIPE would give,
 * instead of an EPIPE stack trace. Node ignores SIGPIPE, so it surfaces as an error event on the stream. What else can happen to an output
 * (a full disk below a redirection) ends a command that was only asked for its answer, with a sentence; never work that is under way.
 */
export function endQuietlyOnClosedPipe(
  exit: (code: number) => void = (code) => process.exit(code),
  { stdout, stderr }: { stdout: NodeJS.WritableStream; stderr: NodeJS.WritableStream } = process,
): void {
  // Progress and warnings that nobody reads are no reason to withhold the answer.
  stderr.on('error', () => undefined);
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    const closed = error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED';
    if (!closed) stderr.write(`error: standard output: ${error.message}\n`);
    // Work that others count on (a running backup) must not die because nobody reads its report: only stop writing.
    if (!keepWorking) exit(closed ? SIGPIPE_EXIT : 1);
  });
}

let keepWorking = false;

/** From here on a closed pipe only silences the output: a verb that changes something is under way. */
export function keepWorkingWithoutReader(): void {
  keepWorking = true;
}
