/** How an error looks: a sentence and a hint for people, `{ "error": … }` for programs. */
import { asError, ERRORS, WardenError } from '../../errors.ts';
import { jsonText } from './json.ts';
import { printable } from './table.ts';
import type { Output } from './terminal.ts';

export interface Failure {
  readonly exitCode: number;
  readonly json: {
    readonly error: { readonly code: string; readonly message: string; readonly hint?: string; readonly problems?: unknown };
  };
  readonly text: string;
}

export function describeFailure(thrown: unknown): Failure {
  const error = asError(thrown);
  const known = error instanceof WardenError ? error : undefined;
  const code = known?.code ?? (error.name === 'AbortError' ? 'interrupted' : 'failed');
  const problems = (error as { problems?: unknown }).problems;
  const message = sentence(error);
  const lines = [message.split('\n').map(printable).join('\n')];
  if (known?.hint !== undefined) lines.push(`hint: ${printable(known.hint)}`);
  return {
    exitCode: ERRORS[code].exit,
    json: {
      error: {
        code,
        message,
        ...(known?.hint === undefined ? {} : { hint: known.hint }),
        ...(problems === undefined ? {} : { problems }),
      },
    },
    text: lines.join('\n'),
  };
}

/** The message, and that of the cause where it tells something new: `fetch failed` alone helps nobody. */
function sentence(error: Error): string {
  const own = wordsOf(error);
  if (!(error.cause instanceof Error)) return own;
  const cause = wordsOf(error.cause);
  // `ENOENT: no such file or directory, statfs '/x'` tells nothing to whoever has read "no such folder (ENOENT)".
  const [code] = /\bE[A-Z]{4,}\b/.exec(cause) ?? [];
  const told = own.includes(cause) || (code !== undefined && own.includes(code));
  return told ? own : `${own} (${cause})`;
}

/** An AggregateError of a connection that failed on every address has no message of its own, only a code. */
function wordsOf(error: Error): string {
  return error.message || ((error as NodeJS.ErrnoException).code ?? error.name);
}

/** Prints it: JSON to stdout, where a program expects the one document; text to stderr. */
export function printFailure(failure: Failure, output: Output, json: boolean): void {
  if (json) output.out(jsonText(failure.json));
  else output.err(`${output.style('red', 'error:')} ${failure.text}`);
}
