/** What flags and environment say about the options of one element. Later sources overwrite earlier ones: etcdctl's variables, ours, flags. */
import { camelCase } from './flags.ts';
import { envName, flagName, type Option, type RawValue } from './option.ts';
import type { ConfigProblem } from './problems.ts';
import type { Given, GivenValue } from './schema.ts';

/** As commander's `opts()` gives them: by camel-case name. */
export type Flags = Readonly<Record<string, unknown>>;
export type Environment = Readonly<Record<string, string | undefined>>;

/** The given values of an element that has no file, or of the top level on top of its part of the file. */
export function mergeGiven(
  options: readonly Option[],
  sources: { file?: Given; etcdctl?: Given; env: Environment; flags: Flags },
): Map<string, GivenValue> {
  const given = new Map<string, GivenValue>([...(sources.file ?? []), ...(sources.etcdctl ?? [])]);
  for (const option of options) {
    const variable = envName(option);
    const text = variable === undefined ? undefined : sources.env[variable];
    // Compose files and units leave variables empty to say "not set".
    if (text !== undefined && text !== '') given.set(option.path, { value: text, origin: { kind: 'environment', name: variable! } });
    const flag = flagName(option);
    const value = flag === undefined ? undefined : flagValue(option, sources.flags[camelCase(flag)]);
    if (value !== undefined) given.set(option.path, { value, origin: { kind: 'flag', name: flag! } });
  }
  return given;
}

/** Names of the given flags and variables among these options, for telling the user that they do not count. */
export function givenNames(options: readonly Option[], env: Environment, flags: Flags): { flags: string[]; variables: string[] } {
  return {
    flags: options.flatMap((option) => {
      const flag = flagName(option);
      return flag !== undefined && flagValue(option, flags[camelCase(flag)]) !== undefined ? [flag] : [];
    }),
    variables: options.flatMap((option) => {
      const name = envName(option);
      return name !== undefined && (env[name] ?? '') !== '' ? [name] : [];
    }),
  };
}

/** commander sets a negatable flag (`--no-discover`) to true when it is absent: only the other value was given by somebody. */
function flagValue(option: Option, value: unknown): RawValue | undefined {
  if (typeof value === 'boolean') return option.format === 'boolean' && value === option.default ? undefined : value;
  if (typeof value === 'string' || typeof value === 'number') return value;
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string')
    ? value.flatMap((item) => item.split(','))
    : undefined;
}

/** etcdctl's variables, as far as the table names them, in the spelling of our formats. */
export function etcdctlGiven(options: readonly Option[], env: Environment, problems: ConfigProblem[]): Map<string, GivenValue> {
  const given = new Map<string, GivenValue>();
  for (const option of options) {
    const name = option.etcdctl;
    const text = name === undefined ? undefined : env[name];
    if (text === undefined || text === '') continue;
    const origin = { kind: 'environment', name: name! } as const;
    if (name === 'ETCDCTL_USER' && text.includes(':')) {
      const colon = text.indexOf(':');
      given.set('user', { value: text.slice(0, colon), origin });
      given.set('password', { value: text.slice(colon + 1), origin });
      continue;
    }
    // Go's strconv.ParseBool also takes 1, t, T, TRUE and so on.
    const value = option.format === 'boolean' ? goBoolean(text) : option.format === 'endpoints' ? text.replaceAll(/\/+(?=,|$)/g, '') : text;
    given.set(option.path, { value, origin });
  }
  if ((env['ETCDCTL_DISCOVERY_SRV'] ?? '') !== '' && !given.has('endpoints')) {
    problems.push({
      path: 'endpoints',
      origin: { kind: 'environment', name: 'ETCDCTL_DISCOVERY_SRV' },
      expected: 'endpoints; finding them by DNS SRV records is not supported',
      suggestion: 'set ETCDCTL_ENDPOINTS or give --endpoints; one member is enough, the others are found through it',
    });
  }
  return given;
}

/** etcdctl's `--insecure-transport=false` asks for TLS even without a CA or certificate of one's own. */
export function etcdctlForcesTls(env: Environment): boolean {
  return goBoolean(env['ETCDCTL_INSECURE_TRANSPORT'] ?? '') === false;
}

function goBoolean(text: string): boolean | string {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : text;
}
