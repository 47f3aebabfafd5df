import { runCli } from '../../src/cli/run.ts';
import { recordedOutput } from './recorded-output.ts';

export interface Called {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as one JSON document. */
  json<T = Record<string, unknown>>(): T;
}

/** Runs a command line in this process, which saves a second of starting on a busy machine; what signals do to it needs a process of its own. */
export async function called(
  words: readonly string[],
  { env = {}, ask }: { readonly env?: Readonly<Record<string, string>>; readonly ask?: (question: string) => Promise<boolean> } = {},
): Promise<Called> {
  const output = recordedOutput();
  const code = await runCli(words, { env, output, ...(ask === undefined ? {} : { ask }) });
  const [stdout, stderr] = [output.printed.join('\n'), output.said.join('\n')];
  return {
    code,
    stdout,
    stderr,
    json<T>() {
      try {
        return JSON.parse(stdout) as T;
      } catch (error) {
        throw new Error(`no JSON (exit code ${code}):\n${stdout}\n${stderr}`, { cause: error });
      }
    },
  };
}
