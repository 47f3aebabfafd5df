/** What somebody asked `restore` for: flags, named as etcdutl has them, over the configuration. */
import { resolve } from 'node:path';
import type { ClusterConfig } from '../config/types.ts';
import { WardenError } from '../errors.ts';
import { isFileReference } from '../inspect/open.ts';
import type { RestoreOrder } from '../jobs/restore/prepare.ts';
import { PLATFORMS, type Content, type Platform } from '../restore/types.ts';
import { numberOption, revisionOption } from './option-values.ts';
import type { Invocation } from './verb.ts';

type Words = Pick<Invocation, 'arguments' | 'options'>;

/** A week of 1500 writes a second: more than any cluster made between the backup and the restore. */
const USUAL_BUMP = 1_000_000_000n;

/** @param cluster whose settings count where no flag is given. @throws WardenError `usage` */
export function restoreOrder(words: Words, cluster: ClusterConfig | undefined): RestoreOrder {
  const { options } = words;
  const settings = cluster?.restore;
  const file = fileNamed(words);
  const revision = revisionOption(words);
  const members = [...list(words, 'member'), ...list(words, 'name')];
  const dataDir = place(words, 'dataDir') ?? settings?.dataDir;
  const walDir = place(words, 'walDir') ?? settings?.walDir;
  const planOnly = options['plan'] === true;
  return {
    source:
      file === undefined
        ? { reference: words.arguments[0], latest: options['latest'] === true, at: text(words, 'at'), revision }
        : { file, revision },
    store: text(words, 'store'),
    members: {
      initialCluster: text(words, 'initialCluster') ?? settings?.initialCluster,
      members,
      advertised: text(words, 'initialAdvertisePeerUrls'),
      planOnly,
    },
    token: token(words),
    attempt: numberOption(words, 'attempt', 1) ?? 1,
    dataDir,
    walDir,
    folder: process.cwd(),
    content: contentOf(words),
    etcdVersion: text(words, 'etcdVersion') ?? settings?.etcdVersion,
    builder: choice(words, 'builder', ['auto', 'native', 'etcdutl']) ?? settings?.builder ?? 'auto',
    etcdutl: program(text(words, 'etcdutl') ?? settings?.etcdutl),
    platform: choice<'auto' | Platform>(words, 'platform', ['auto', ...PLATFORMS]) ?? settings?.platform ?? 'auto',
    replace: options['replace'] === true,
    owner: text(words, 'owner'),
    acceptSuspect: options['acceptSuspect'] === true,
  };
}

/** Whether a file is to be restored, which needs no store. */
export function fileNamed({ arguments: [reference], options }: Words): string | undefined {
  if (reference === undefined || !isFileReference(reference)) return undefined;
  const other = ['latest', 'at', 'store'].find((name) => options[name] !== undefined);
  if (other === undefined) return reference;
  throw new WardenError('usage', `--${other} does not go with a file`, {
    hint: `${reference} is a file because there is a slash or dot in it`,
  });
}

function contentOf(words: Words): Omit<Content, 'revision'> {
  const { options } = words;
  return {
    only: list(words, 'only').map((prefix) => prefixOf('only', prefix)),
    without: list(words, 'without').map((prefix) => prefixOf('without', prefix)),
    defragmented: options['defragmented'] === true,
    bump: bumpOf(words),
  };
}

/** An empty prefix is every key: `--without ''` would leave nothing, and `--only ''` was meant for something else. */
function prefixOf(option: string, prefix: string): Buffer {
  if (prefix !== '') return Buffer.from(prefix);
  throw new WardenError('usage', `--${option} was given no prefix`, { hint: 'an empty one is every key' });
}

function bumpOf(words: Words): Content['bump'] {
  const { options } = words;
  const by = text(words, 'bumpRevision');
  const none = options['bump'] === false;
  if (none && (by !== undefined || options['markCompacted'] === true))
    throw new WardenError('usage', `--no-bump and --${by === undefined ? 'mark-compacted' : 'bump-revision'} exclude each other`);
  if (none) return 'none';
  if (by === undefined) {
    // etcdutl's word for it; raised revisions are always marked here, because watchers that are not told would wait for ever.
    if (options['markCompacted'] !== true) return 'auto';
    throw new WardenError('usage', '--mark-compacted goes with --bump-revision', {
      hint: `--bump-revision ${USUAL_BUMP} raises revisions and marks the older ones compacted`,
    });
  }
  if (!/^[1-9]\d{0,17}$/u.test(by))
    throw new WardenError('usage', `--bump-revision ${JSON.stringify(by)} is not a number of revisions`, {
      hint: `a whole number from 1 on; ${USUAL_BUMP} is usual`,
    });
  return { by: BigInt(by) };
}

function token(words: Words): string | undefined {
  const given = text(words, 'initialClusterToken');
  if (given === undefined) return undefined;
  if (given === '' || /[\s\0]/u.test(given))
    throw new WardenError('usage', '--initial-cluster-token is empty or has blanks in it', {
      hint: 'leave it out: one is derived, the same on every machine',
    });
  if (words.options['attempt'] !== undefined)
    throw new WardenError('usage', '--attempt and --initial-cluster-token exclude each other', {
      hint: 'an attempt makes another token than the one before it',
    });
  return given;
}

/** An empty one, as a variable that is not set leaves it, would be the folder that one stands in. */
function place(words: Words, name: 'dataDir' | 'walDir'): string | undefined {
  const path = text(words, name);
  if (path !== '') return path;
  throw new WardenError('usage', `--${name === 'dataDir' ? 'data-dir' : 'wal-dir'} was given no path`, {
    hint: 'a variable that is not set leaves none',
  });
}

/** A word without a slash is looked for on the PATH. */
function program(path: string | undefined): string | undefined {
  return path?.includes('/') === true ? resolve(path) : path;
}

function text({ options }: Words, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

function list({ options }: Words, name: string): readonly string[] {
  const value = options[name];
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : [];
}

function choice<Choice extends string>(words: Words, name: string, choices: readonly Choice[]): Choice | undefined {
  const given = text(words, name);
  const found = choices.find((each) => each === given);
  if (given === undefined || found !== undefined) return found;
  throw new WardenError('usage', `--${name} ${JSON.stringify(given)} is not one of ${choices.join(', ')}`);
}
