/** A question to the person at the terminal. */
import { createInterface } from 'node:readline/promises';
import type { ReadStream, WriteStream } from 'node:tty';

/**
 * @returns undefined unless both standard input and standard error are a terminal: then nobody could read the question, or answer it.
 * The answer is true for `y` and `yes` only; the end of the input is a no.
 */
export function askAtTerminal(
  signal: AbortSignal,
  { stdin, stderr }: { stdin: ReadStream; stderr: WriteStream } = process,
): ((question: string) => Promise<boolean>) | undefined {
  if (!stdin.isTTY || !stderr.isTTY) return undefined;
  return async (question) => {
    const lines = createInterface({ input: stdin, output: stderr });
    const closed = Promise.withResolvers<string>();
    lines.once('close', () => closed.resolve(''));
    // In raw mode Ctrl-C is a character, which readline makes an event of.
    lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    try {
      const answer = await Promise.race([lines.question(`${question} [y/N] `, { signal }), closed.promise]);
      return /^\s*y(es)?\s*$/iu.test(answer);
    } finally {
      lines.close();
    }
  };
}
