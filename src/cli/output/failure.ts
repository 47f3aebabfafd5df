/** How an error looks: a sentence and a hint for people, `{ "error": … }` for programs. */
import { asError, ERRORS, WardenError } from '../../errors.ts';
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
  const cause =
    known !== undefined && error.cause instanceof Error && !error.message.includes(error.cause.message) ? ` (${error.cause.message})` : '';
  const lines = [`${error.message}${cause}`.split('\n').map(printable).join('\n')];
  if (known?.hint !== undefined) lines.push(`hint: ${printable(known.hint)}`);
  return {
    exitCode: ERRORS[code].exit,
    json: {
      error: {
        code,
        message: `${error.message}${cause}`,
        ...(known?.hint === undefined ? {} : { hint: known.hint }),
        ...(problems === undefined ? {} : { problems }),
      },
    },
    text: lines.join('\n'),
  };
}

/** Prints it: JSON to stdout, where a program expects the one document; text to stderr. */
export function printFailure(failure: Failure, output: Output, json: boolean): void {
  if (json) output.out(JSON.stringify(failure.json, null, 2));
  else output.err(`${output.style('red', 'error:')} ${failure.text}`);
}
