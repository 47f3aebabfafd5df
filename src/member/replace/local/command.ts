/** Programs of the system, called with a list of words and a deadline, without a shell. */
import { execFile } from 'node:child_process';
import { asError, WardenError } from '../../../errors.ts';

const PATIENCE_MS = 120_000;

/** @returns standard output. @throws WardenError `failed` with what the program said */
export async function command(
  program: string,
  words: readonly string[],
  signal: AbortSignal,
  options: { readonly codes?: readonly number[] } = {},
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  execFile(program, [...words], { signal, timeout: PATIENCE_MS, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
    if (error === null) return resolve(stdout);
    if (signal.aborted) return reject(asError(signal.reason));
    if (typeof error.code === 'number' && options.codes?.includes(error.code) === true) return resolve(stdout);
    const said = stderr.trim().split('\n').slice(-3).join('; ');
    reject(
      new WardenError('failed', `${[program, ...words].join(' ')}: ${said === '' ? error.message.split('\n')[0] : said}`, { cause: error }),
    );
  });
  return promise;
}
