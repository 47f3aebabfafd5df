import type { LoadedConfig } from '../config/load.ts';
import type { JobContext } from '../jobs/types.ts';
import type { Output } from './output/terminal.ts';

/** What a verb gets when it runs: arguments and options already parsed, the configuration already loaded and checked. */
export interface Invocation {
  readonly arguments: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly loaded: LoadedConfig;
  readonly context: JobContext;
  readonly output: Output;
  readonly json: boolean;
  /** Asks whoever sits at the terminal a question that yes or no answers; undefined when nobody does. */
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}

/** A verb's answer: the exit code, and what `--json` prints or `text` for people. */
export interface Answer {
  readonly exitCode?: number;
  /** Stable shape, documented in docs/json.md; 64-bit ids as strings. */
  readonly json: unknown;
  readonly text: string;
  /** The verb has written its answer itself, piece by piece (`Output.write`): nothing more is printed. */
  readonly written?: boolean;
}

export interface VerbModule {
  run(invocation: Invocation): Promise<Answer>;
}

/** One line of the table of verbs: everything that `--help` shows, and where the code is. */
export interface Verb {
  readonly name: string;
  /** commander's notation, separated by spaces: `[id]`, `<id> <key>`, `<files...>`. */
  readonly arguments?: string;
  /** The words that the first argument may be. */
  readonly choices?: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly examples: readonly (readonly [command: string, what: string])[];
  /** `repeatable`: may be given more than once, each time with one value; the values make a list. */
  readonly options?: readonly (readonly [flags: string, description: string, repeatable?: 'repeatable'])[];
  /** Flags of the configuration that `--help` shows; all the others work as well. */
  readonly shows?: readonly string[];
  /** Flags of `maintenance` and --no-coordinate go over what a file says. */
  readonly byHand?: boolean;
  /** Whose files and secrets are looked at. `daemon`: all; `cluster`: etcd and its backups; `etcd`: etcd alone, so that a store that is gone never stands in the way; `stores`: only backups; `none`: checks all, uses none. */
  readonly needs: 'daemon' | 'cluster' | 'etcd' | 'stores' | 'none';
  readonly hidden?: boolean;
  /** A closed stdout must not end it: it changes something. */
  readonly changes: boolean;
  readonly load: () => Promise<VerbModule>;
  /** Arguments that are answered without a look at the configuration: it may be broken just then. */
  readonly alone?: Readonly<Record<string, () => Promise<Answer>>>;
}
