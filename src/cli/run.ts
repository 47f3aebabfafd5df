/** From words to an exit code: parses strictly, loads the configuration, runs the verb, prints its answer. */
import { Argument, Command, CommanderError, Option } from 'commander';
import type { LoadedConfig, Use } from '../config/load.ts';
import { flagOptions, type FlagScope } from '../config/flags.ts';
import { WardenError } from '../errors.ts';
import { silentLogger, type Logger } from '../telemetry/logger.ts';
import { version } from '../version.ts';
import { describeFailure, printFailure } from './output/failure.ts';
import { jsonText } from './output/json.ts';
import { progressLine } from './output/progress.ts';
import { askAtTerminal } from './output/ask.ts';
import { keepWorkingWithoutReader, terminalOutput, type Output } from './output/terminal.ts';
import { stopOnSignals } from './signals.ts';
import type { Answer, Invocation, Verb } from './verb.ts';
import { VERBS } from './verbs.ts';

export interface CliEnvironment {
  readonly env: NodeJS.ProcessEnv;
  readonly output: Output;
  /** Instead of the terminal's user. */
  readonly ask?: Invocation['ask'];
}

/** @returns the exit code (docs/errors.md) */
export async function runCli(
  words: readonly string[],
  environment: CliEnvironment = { env: process.env, output: terminalOutput() },
): Promise<number> {
  const { output } = environment;
  const json = words.includes('--json');
  let code = 0;
  const dispatch: Dispatch = async (verb, args, options) => {
    code = await runVerb(verb, args, options, environment);
  };
  const program = buildProgram(output, dispatch, words);
  try {
    await program.parseAsync(words, { from: 'user' });
    return code;
  } catch (error) {
    // Help and --version end like this too; commander has written their text already.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const failure = describeFailure(error instanceof CommanderError ? usageError(error, words) : error);
    // Without any word the help itself is the answer.
    if (json || words.length > 0) printFailure(failure, output, json);
    return failure.exitCode;
  }
}

/** What commander says, but never a value: somebody may have tried to pass a secret. */
function usageError(error: CommanderError, words: readonly string[]): WardenError {
  const verb = VERBS.find(({ name }) => words.includes(name))?.name;
  const sentence = error.message.replace(/^error: /, '').replace(/^unknown option '(--?[^=']*)=[^]*?'(?=$|\n)/, "unknown option '$1'");
  const early = error.code === 'commander.unknownOption' && words[0]?.startsWith('-') === true && verb !== undefined;
  return new WardenError('usage', words.length === 0 ? 'no verb is given' : sentence.replaceAll('\n', ' '), {
    hint: early ? `options stand behind the verb: etcd-warden ${verb} ...` : `etcd-warden ${verb === undefined ? '' : `${verb} `}--help`,
  });
}

type Dispatch = (verb: Verb, args: readonly string[], options: Readonly<Record<string, unknown>>) => Promise<void>;

/**
 * Every verb with its options, help and examples; exported for the documentation's test.
 * @param words of the call: verbs that are not among them go without the flags of the configuration, a hundred each, which take longer than all the rest
 */
export function buildProgram(output: Output, dispatch: Dispatch, words?: readonly string[]): Command {
  const program = new Command('etcd-warden')
    .description('Keeps etcd clusters backed up, restorable and inside their quota.')
    .version(version, '-V, --version')
    .exitOverride()
    .configureHelp({
      // commander would rather not wrap at all in a narrow terminal.
      minWidthToWrap: 10,
      subcommandTerm: (command) => [command.name(), ...command.registeredArguments.map(spelled)].join(' '),
    })
    .configureOutput({
      writeOut: (text) => output.out(text.trimEnd()),
      writeErr: (text) => output.err(text.trimEnd()),
      // Printed by runCli, as every other failure.
      outputError: () => undefined,
      getOutHelpWidth: () => (Number.isFinite(output.width) ? output.width : 100),
      getErrHelpWidth: () => (Number.isFinite(output.width) ? output.width : 100),
    })
    .addHelpText(
      'after',
      '\nThe simplest use needs no file:\n  etcd-warden backup --endpoints 127.0.0.1:2379 --to /var/backups/etcd\n  etcd-warden list --from /var/backups/etcd\nExit codes: 0 ok, 1 failed, 2 usage, 3 partial, 10 nothing found, 11 locked, 12 key, 13 verification failed, 14 refused, 130 interrupted.',
    );
  for (const verb of VERBS) {
    const command = addVerb(program, verb, dispatch);
    if (words === undefined || words.includes(verb.name)) addConfigFlags(command, verb);
  }
  return program;
}

function spelled(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
}

function addVerb(program: Command, verb: Verb, dispatch: Dispatch): Command {
  const command = program
    .command(verb.name, { hidden: verb.hidden === true })
    .summary(verb.summary)
    .description(verb.description)
    .exitOverride()
    .allowExcessArguments(false);
  for (const [index, word] of (verb.arguments?.split(' ') ?? []).entries()) {
    const argument = new Argument(word);
    command.addArgument(verb.choices === undefined || index > 0 ? argument : argument.choices(verb.choices));
  }
  for (const [flags, description, repeatable] of verb.options ?? []) {
    const option = new Option(flags, description);
    if (repeatable !== undefined) option.argParser(append);
    command.addOption(option);
  }
  command.option('--json', 'one JSON document on stdout (docs/json.md)').option('--quiet', 'no progress');
  const examples = verb.examples.map(([line, what]) => `  ${line}\n      ${what}`).join('\n');
  command.addHelpText(
    'after',
    `\nEvery other option of the configuration works as a flag too: etcd-warden config docs\n\nExamples:\n${examples}`,
  );
  command.action(async () => {
    await dispatch(verb, command.args, command.opts());
  });
  return command;
}

function append(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

function addConfigFlags(command: Command, verb: Verb): void {
  const scopes: readonly FlagScope[] = ['call', 'daemon', 'cluster', 'store'];
  const taken = new Set(command.options.map((option) => option.attributeName()));
  for (const scope of scopes) {
    for (const flag of flagOptions(scope)) {
      if (taken.has(flag.key)) continue; // the verb's own option of that name goes first
      taken.add(flag.key);
      const option = new Option(flag.flags, flag.description);
      if (flag.repeatable) option.argParser(append);
      const shown = scope === 'call' || verb.shows?.includes(flag.name) === true;
      command.addOption(shown ? option : option.hideHelp());
    }
  }
}

/** A command's answer tells everything; its log is for whoever asks for it with --log-level. */
async function loggerFor(verb: Verb, { config, origins }: LoadedConfig): Promise<Logger> {
  const purpose = verb.name === 'run' ? 'daemon' : 'command';
  if (purpose === 'command' && origins['log.level']?.kind !== 'flag' && origins['log.level']?.kind !== 'environment') return silentLogger;
  const { createLogger } = await import('../telemetry/pino.ts');
  return createLogger({ level: config.log.level, format: config.log.format, purpose });
}

/** Whose files and secrets must be there: reading backups must work where the cluster's certificates are gone. */
const USES: Readonly<Record<Verb['needs'], readonly Use[]>> = {
  daemon: ['etcd', 'stores', 'daemon'],
  cluster: ['etcd', 'stores'],
  etcd: ['etcd'],
  stores: ['stores'],
  none: ['etcd', 'stores', 'daemon'],
};

/** A flag that a verb has for itself (`defrag --member`) means nothing to the configuration, although an option of it has that name. */
function configFlags(verb: Verb, options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const own = new Set((verb.options ?? []).map(([flags]) => new Option(flags).attributeName()));
  return Object.fromEntries(Object.entries(options).filter(([name]) => !own.has(name)));
}

async function runVerb(
  verb: Verb,
  args: readonly string[],
  options: Readonly<Record<string, unknown>>,
  environment: CliEnvironment,
): Promise<number> {
  const { output, env } = environment;
  const json = options['json'] === true;
  const alone = verb.alone?.[args[0] ?? ''];
  if (alone !== undefined) return print(await alone(), output, json);
  // Not for `--help` and the like.
  const { loadConfig } = await import('../config/load.ts');
  const loaded: LoadedConfig = loadConfig({
    flags: configFlags(verb, options),
    env,
    apart: verb.name === 'copy',
    byHand: verb.byHand === true,
    uses: USES[verb.needs],
  });
  for (const warning of loaded.warnings) output.err(`${output.style('yellow', 'warning:')} ${warning}`);
  if (verb.changes) keepWorkingWithoutReader();
  const logger = await loggerFor(verb, loaded);
  // A log on the same terminal tells the progress already, and a live line between its lines would only be torn apart.
  const progress = progressLine(output, { quiet: options['quiet'] === true || logger !== silentLogger });
  const stop = stopOnSignals((name) => {
    // The daemon's log is for machines, and says the same in its own words.
    if (verb.needs !== 'daemon') progress.note(`${name}: stopping cleanly; once more stops at once`);
  });
  const person = environment.ask ?? askAtTerminal(stop.signal);
  try {
    const module = await verb.load();
    const answer = await module.run({
      arguments: args,
      options,
      loaded,
      // On a terminal the live line stands where the next piece of an answer goes.
      output: { ...output, write: (piece) => (progress.pause(), output.write(piece)), err: (text) => (progress.pause(), output.err(text)) },
      json,
      ask:
        person === undefined
          ? undefined
          : (question) => {
              progress.pause();
              return person(question);
            },
      context: { config: loaded.config, logger, signal: stop.signal, progress: (event) => progress.update(event), now: () => new Date() },
    });
    progress.end();
    return print(answer, output, json);
  } catch (error) {
    progress.end();
    // What a verb says of its own interruption tells more than the signal.
    const told = error instanceof WardenError && error.code === 'interrupted';
    const failure = describeFailure(stop.signal.aborted && !told ? stop.signal.reason : error);
    printFailure(failure, output, json);
    return failure.exitCode;
  } finally {
    stop.remove();
  }
}

function print(answer: Answer, output: Output, json: boolean): number {
  if (answer.written !== true) output.out(json ? jsonText(answer.json) : answer.text);
  return answer.exitCode ?? 0;
}
