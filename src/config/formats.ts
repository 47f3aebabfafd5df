/** How each format reads and checks its values. Convict calls `coerce` on every text and `check` on every result. */
import { join, resolve } from 'node:path';
import { checkBucket, NAME, NAME_EXPECTED, normalizePrefix } from './address.ts';
import { checkCron, isTimeZone } from './cron.ts';
import type { FormatName, Option } from './option.ts';
import { isRecipient } from './recipient.ts';
import { parseHistory, printHistory, type History } from './history.ts';
import { closest } from './suggest.ts';
import { formatBytesExact, formatDuration, parseBytes, parseDuration, suggestBytes, suggestDuration } from './units.ts';

/** Thrown by `check`: what was expected, and what was probably meant. */
export class BadValue extends Error {
  readonly expected: string;
  readonly suggestion: string | undefined;

  constructor(expected: string, suggestion?: string) {
    super(expected);
    this.name = 'BadValue';
    this.expected = expected;
    this.suggestion = suggestion;
  }
}

/** What a check may need beside the value. */
export interface FormatContext {
  readonly now: Date;
  /** What relative paths are relative to. */
  readonly folder: string;
  /** Where systemd puts credentials. */
  readonly credentials: string;
}

export interface Format {
  /** For the reference, `a duration such as 90s, 6h or 1d12h`. */
  readonly expected: string;
  /** A text in the option's own type, or the text itself when it is none: then `check` says what is wrong. */
  coerce?(text: string): unknown;
  /** @throws BadValue. Returns the value in its final form. */
  check(value: unknown, option: Option, context: FormatContext): unknown;
  /** For `config print`: the final form as a user would write it. */
  print?(value: unknown): unknown;
}

const DURATION_EXPECTED = 'a duration such as 30s, 5m, 6h or 1d12h';
const PERCENT_EXPECTED = 'a percentage such as 80%';
const HISTORY_EXPECTED = 'a number of revisions such as 10000, or a duration such as 10m';
const SIZE_EXPECTED = 'a size in bytes such as 8GiB, 500MB or 0';

export const FORMATS: Readonly<Record<FormatName, Format>> = {
  text: { expected: 'text', check: (value) => nonEmptyText(value, 'text') },
  secret: {
    expected: 'a text, env:NAME, file:PATH or credential:NAME',
    check: (value) => nonEmptyText(value, 'a text, env:NAME, file:PATH or credential:NAME'),
  },
  choice: {
    expected: 'one of a few words',
    check: (value, option) => {
      const choices = option.choices ?? [];
      if (typeof value === 'string' && choices.includes(value)) return value;
      throw new BadValue(oneOf(choices), typeof value === 'string' ? didYouMean(closest(value, choices)) : undefined);
    },
  },
  boolean: {
    expected: 'true or false',
    coerce: (text) => (text === 'true' ? true : text === 'false' ? false : text),
    check: (value) => {
      if (typeof value === 'boolean') return value;
      const meant = /^(yes|on|y|t|1|true)$/i.test(String(value))
        ? 'true'
        : /^(no|off|n|f|0|false)$/i.test(String(value))
          ? 'false'
          : undefined;
      throw new BadValue('true or false', didYouMean(meant));
    },
  },
  count: {
    expected: 'a whole number',
    coerce: (text) => (/^\d{1,15}$/.test(text) ? Number(text) : text),
    check: (value, option) => {
      const min = Number(option.min ?? 0);
      const max = Number(option.max ?? Number.MAX_SAFE_INTEGER);
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
      throw new BadValue(`a whole number from ${min} to ${max}`);
    },
  },
  percent: {
    expected: PERCENT_EXPECTED,
    coerce: (text) => (/^\d{1,3}%?$/.test(text) ? Number(text.replace('%', '')) : text),
    check: (value, option) => {
      const [min, max] = [Number(option.min ?? 0), Number(option.max ?? 100)];
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
      throw new BadValue(`${PERCENT_EXPECTED}, from ${min} to ${max}`);
    },
    print: (value) => `${String(value)}%`,
  },
  history: {
    expected: HISTORY_EXPECTED,
    check: (value) => {
      const history = parseHistory(value);
      if (history !== undefined) return history;
      throw new BadValue(HISTORY_EXPECTED, typeof value === 'string' ? didYouMean(suggestDuration(value)) : undefined);
    },
    print: (value) => printHistory(value as History),
  },
  duration: {
    expected: DURATION_EXPECTED,
    coerce: (text) => parseDuration(text) ?? text,
    check: (value, option) => inBounds(value, option, parseDuration, DURATION_EXPECTED, suggestDuration),
    print: (value) => formatDuration(value as number),
  },
  size: {
    expected: SIZE_EXPECTED,
    coerce: (text) => parseBytes(text) ?? text,
    check: (value, option) => inBounds(value, option, parseBytes, SIZE_EXPECTED, suggestBytes),
    print: (value) => (value === 0 ? 0 : formatBytesExact(value as number)),
  },
  cron: {
    expected: 'a cron expression of five fields, or off',
    check: (value, _option, context) => {
      const text = nonEmptyText(value, 'a cron expression of five fields (minute hour day month weekday), or off');
      if (text === 'off') return text;
      const wrong = checkCron(text, 'UTC', context.now);
      if (wrong !== undefined) throw new BadValue(wrong);
      return text.trim().split(/\s+/).join(' ');
    },
  },
  timezone: {
    expected: 'a time zone such as UTC or Europe/Berlin',
    check: (value, _option, context) => {
      const text = nonEmptyText(value, 'a time zone such as UTC or Europe/Berlin');
      if (isTimeZone(text, context.now)) return text;
      throw new BadValue('a time zone such as UTC or Europe/Berlin', didYouMean(closest(text, Intl.supportedValuesOf('timeZone'))));
    },
  },
  listen: {
    expected: 'host:port, or off',
    check: (value) => {
      const text = nonEmptyText(value, 'host:port, or off');
      const match = /^(\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9._-]*):(\d{1,5})$/.exec(text);
      if (text !== 'off' && (match === null || Number(match[2]) > 65_535)) {
        throw new BadValue(
          'host:port such as 127.0.0.1:9378 or [::1]:9378, or off',
          /^\d+$/.test(text) ? `did you mean 127.0.0.1:${text}?` : undefined,
        );
      }
      return match !== null && match[1] === '' ? `0.0.0.0${text}` : text;
    },
  },
  endpoints: {
    expected: 'client addresses such as https://10.0.0.1:2379',
    coerce: splitList,
    check: (value) => list(value, 'client addresses such as https://10.0.0.1:2379', checkEndpoint, 1),
  },
  member: {
    expected: 'leader, follower, learner or one of the endpoints',
    check: (value) => {
      const text = nonEmptyText(value, 'leader, follower, learner or one of the endpoints');
      if (['leader', 'follower', 'learner'].includes(text)) return text;
      if (!/[:./]/.test(text))
        throw new BadValue(
          'leader, follower, learner or one of the endpoints',
          didYouMean(closest(text, ['leader', 'follower', 'learner'])),
        );
      return checkEndpoint(text);
    },
  },
  url: {
    expected: 'an address such as https://s3.example.org',
    check: (value) => {
      const text = nonEmptyText(value, 'an address such as https://s3.example.org');
      const url = URL.parse(text);
      if (url !== null && /^https?:\/\//i.test(text) && url.hostname !== '') return text.replace(/\/+$/, '');
      throw new BadValue(
        'an address such as https://s3.example.org',
        /^[\w.-]+(:\d+)?$/.test(text) ? `did you mean https://${text}?` : undefined,
      );
    },
  },
  file: {
    expected: 'the path of a file, or credential:NAME',
    check: (value, _option, context) => {
      // systemd's credentials directory has another name for each unit and start: `credential:etcd-key` is what can be written down.
      const name = typeof value === 'string' ? /^credential:(.*)$/s.exec(value)?.[1] : undefined;
      if (name === undefined) return path(value, 'the path of a file', context);
      if (!/^[A-Za-z0-9._-]+$/.test(name) || /^\.+$/.test(name))
        throw new BadValue('credential:NAME with the name of a file in the credentials directory');
      return join(context.credentials, name);
    },
  },
  folder: { expected: 'the path of a folder', check: (value, _option, context) => path(value, 'the path of a folder', context) },
  names: { expected: 'a list of names', coerce: splitList, check: (value) => list(value, 'a list of names', checkName, 1) },
  hosts: { expected: 'a list of host names', coerce: splitList, check: (value) => list(value, 'a list of host names', checkHost, 0) },
  recipients: {
    expected: 'a list of public keys of age (age1…)',
    coerce: splitList,
    check: (value) => list(value, 'a list of public keys of age (age1…)', checkRecipient, 0),
  },
  bucket: {
    expected: 'the name of a bucket',
    check: (value) => {
      const text = nonEmptyText(value, 'the name of a bucket');
      const wrong = checkBucket(text);
      if (wrong !== undefined) throw new BadValue(wrong, text.startsWith('s3://') ? 'give `bucket` and `prefix` apart' : undefined);
      return text;
    },
  },
  prefix: {
    expected: 'a prefix',
    check: (value) => {
      if (typeof value !== 'string') throw new BadValue('text');
      const result = normalizePrefix(value);
      if ('kind' in result) throw new BadValue(result.expected, result.suggestion);
      return result.prefix;
    },
  },
  'key-prefix': {
    expected: 'a prefix of etcd keys that ends in a slash',
    check: (value) => {
      const text = nonEmptyText(value, 'a prefix of etcd keys that ends in a slash');
      if (/^[\x21-\x7e]{1,200}\/$/.test(text)) return text;
      throw new BadValue(
        'a prefix of etcd keys in plain letters that ends in a slash',
        /^[\x21-\x7e]{1,200}$/.test(text) ? `did you mean ${text}/?` : undefined,
      );
    },
  },
  user: {
    expected: 'a user name without a password',
    check: (value) => {
      const text = nonEmptyText(value, 'a user name');
      // etcdctl's `user:password`. Shown nowhere, because everyone on the machine reads argv and many read configuration files.
      if (text.includes(':'))
        throw new BadValue('a user name alone; the password has its own option', 'use passwordFile, or ETCDCTL_USER in the environment');
      return text;
    },
  },
};

function nonEmptyText(value: unknown, expected: string): string {
  if (typeof value !== 'string' || value.trim() === '') throw new BadValue(expected);
  return value;
}

function inBounds(
  value: unknown,
  option: Option,
  parse: (text: string) => number | undefined,
  expected: string,
  suggest: (text: string) => string | undefined,
): number {
  if (typeof value !== 'number') {
    const meant = typeof value === 'string' ? suggest(value) : undefined;
    throw new BadValue(expected, didYouMean(meant));
  }
  if (option.min !== undefined && value < parse(option.min)!) throw new BadValue(`${expected}, at least ${option.min}`);
  if (option.max !== undefined && value > parse(option.max)!) throw new BadValue(`${expected}, at most ${option.max}`);
  return value;
}

/** `a,b` from a flag or a variable; in a file a list, or one text of the same kind. */
function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function list(value: unknown, expected: string, check: (item: string) => string, atLeast: number): string[] {
  if (!Array.isArray(value) || value.length < atLeast) throw new BadValue(expected);
  const items = value.map((item: unknown) => {
    if (typeof item !== 'string' || item.trim() === '') throw new BadValue(expected);
    return check(item.trim());
  });
  const twice = items.find((item, index) => items.indexOf(item) !== index);
  if (twice !== undefined) throw new BadValue(`${expected}, each only once`);
  return items;
}

function checkEndpoint(text: string): string {
  const expected = 'client addresses such as https://10.0.0.1:2379';
  const match = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9._-]+):(\d{1,5})\/?$/.exec(text);
  if (match !== null && Number(match[3]) >= 1 && Number(match[3]) <= 65_535) return text.replace(/\/$/, '');
  const bare = /^(https?:\/\/)?([A-Za-z0-9._-]+)\/?$/.exec(text);
  throw new BadValue(expected, bare === null ? undefined : `did you mean ${bare[1] ?? ''}${bare[2]}:2379?`);
}

function checkName(text: string): string {
  if (!NAME.test(text)) throw new BadValue(NAME_EXPECTED);
  return text;
}

function checkHost(text: string): string {
  if (!/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$/.test(text)) throw new BadValue('host names without scheme or path');
  return text.toLowerCase();
}

function checkRecipient(text: string): string {
  if (/^AGE-SECRET-KEY-/i.test(text))
    throw new BadValue(
      'public keys of age (age1…), not the private one',
      'the private key belongs into encryption.identityFile; make its public key with `age-keygen -y`',
    );
  if (text.startsWith('ssh-'))
    throw new BadValue('native recipients of age (age1…); ssh keys are not supported', 'make a key with `age-keygen`');
  if (!isRecipient(text)) throw new BadValue('public keys of age (age1…), whole and without typing errors');
  return text;
}

function path(value: unknown, expected: string, context: FormatContext): string {
  const text = nonEmptyText(value, expected);
  if (/\p{Cc}/u.test(text)) throw new BadValue(`${expected} without control characters`);
  if (text.startsWith('~')) throw new BadValue(`${expected} without ~, which only a shell expands`);
  if (/^[a-z0-9]+:\/\//i.test(text)) throw new BadValue(`${expected}, not an address`);
  return resolve(context.folder, text);
}

function oneOf(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? '') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)!}`;
}

/** `did you mean x?`, or nothing when there is no guess. */
export function didYouMean(word: string | undefined): string | undefined {
  return word === undefined ? undefined : `did you mean ${word}?`;
}
