/**
 * The logger of a process: JSON lines for machines, one readable line for a terminal, and syslog priorities when systemd's journal reads
 * us (sd-daemon(3): a line that starts with `<6>` is stored with priority info).
 */
import { fstatSync } from 'node:fs';
import { pino } from 'pino';
import { fieldsForLog } from './fields.ts';
import { textLine } from './text.ts';
import type { Logger } from './logger.ts';

export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export interface LoggerOptions {
  readonly level: Level;
  /** `auto`: text for a command, and for a daemon whose stream is a terminal; JSON otherwise. */
  readonly format: 'auto' | 'json' | 'text';
  /** Who writes; a daemon when not given. */
  readonly purpose?: 'daemon' | 'command';
  /** Where lines go; standard error when not given. Written synchronously, so that the last line before an exit is not lost. */
  readonly stream?: LogStream;
  /** Decides about priorities and colour; `process.env` when not given. */
  readonly environment?: NodeJS.ProcessEnv;
}

export interface LogStream {
  write(line: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly fd?: number;
}

const PRIORITIES: Readonly<Record<number, number>> = { 10: 7, 20: 7, 30: 6, 40: 4, 50: 3, 60: 2 };

/** A logger that never throws: a log that cannot be written is no reason to lose a backup. */
export function createLogger(options: LoggerOptions): Logger {
  const stream = options.stream ?? process.stderr;
  const environment = options.environment ?? process.env;
  const text = options.format === 'text' || (options.format === 'auto' && (options.purpose === 'command' || stream.isTTY === true));
  const journal = isJournal(stream, environment);
  const colour = stream.isTTY === true && (environment['NO_COLOR'] ?? '') === '';
  const destination = {
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 30,
    write(line: string): void {
      const prefix = journal ? `<${PRIORITIES[destination.lastLevel] ?? 6}>` : '';
      try {
        stream.write(prefix + (text ? textLine(line, { colour, time: !journal }) : line));
      } catch {
        // A closed pipe or a full disk under the log: nothing is left to report it to.
      }
    },
  };
  const root = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
    },
    destination,
  );
  return wrap(root);
}

/** Children start from the root with all fields bound so far: pino would write a field that is bound twice twice, which is not JSON for everyone. */
function wrap(root: pino.Logger, bound: Readonly<Record<string, unknown>> = {}): Logger {
  const inner = root.child(fieldsForLog(bound));
  return {
    debug: (fields, message) => inner.debug(fieldsForLog(fields), message),
    info: (fields, message) => inner.info(fieldsForLog(fields), message),
    warn: (fields, message) => inner.warn(fieldsForLog(fields), message),
    error: (fields, message) => inner.error(fieldsForLog(fields), message),
    child: (fields) => wrap(root, { ...bound, ...fields }),
  };
}

/** systemd.exec(5): JOURNAL_STREAM holds device and inode of the stream that is connected to the journal; a redirected stream differs. */
function isJournal(stream: LogStream, environment: NodeJS.ProcessEnv): boolean {
  const wanted = environment['JOURNAL_STREAM'];
  if (wanted === undefined || stream.fd === undefined) return false;
  try {
    const { dev, ino } = fstatSync(stream.fd);
    return wanted === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
