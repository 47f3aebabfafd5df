/** What this machine knows that a restore asks for: which etcd is installed, and who a name belongs to. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { WardenError } from '../../errors.ts';
import { versionOf } from '../../restore/drill/program.ts';

const run = promisify(execFile);

/** Both answer at once; a program that hangs must not hold up a restore. */
const PATIENCE_MS = 5_000;

/** Version of the etcd on the PATH; undefined when there is none, or it does not say. */
export async function installedEtcd(signal: AbortSignal): Promise<string | undefined> {
  const version = await versionOf('etcd', signal);
  signal.throwIfAborted();
  return version;
}

/**
 * `USER[:GROUP]`, names or numbers, as chown takes them; without a group the user's own.
 * @throws WardenError `usage`
 */
export async function ownerOf(text: string, signal: AbortSignal): Promise<{ readonly uid: number; readonly gid: number }> {
  const [user = '', group] = text.split(':');
  const uid = await numberOf(user, ['id', '-u', '--', user], signal);
  // A number need not be anybody's on this machine; then its group is unknown, and the same number is what containers use.
  const gid =
    group === undefined || group === ''
      ? await numberOf('', ['id', '-g', '--', user], signal).catch((error: unknown) => {
          if (/^\d+$/.test(user)) return uid;
          throw error;
        })
      : await numberOf(group, ['getent', 'group', '--', group], signal);
  return { uid, gid };
}

const LARGEST_ID = 2 ** 32 - 2;

async function numberOf(name: string, [program, ...args]: readonly [string, ...string[]], signal: AbortSignal): Promise<number> {
  if (/^\d{1,10}$/.test(name) && Number(name) <= LARGEST_ID) return Number(name);
  try {
    const { stdout } = await run(program, args, { timeout: PATIENCE_MS, signal });
    const found = /^(?:[^:\n]*:[^:\n]*:)?(\d+)/.exec(stdout)?.[1];
    if (found !== undefined) return Number(found);
  } catch {
    signal.throwIfAborted();
  }
  throw new WardenError(
    'usage',
    `--owner: this machine knows no ${program === 'getent' ? 'group' : 'user'} ${JSON.stringify(args.at(-1))}`,
    {
      hint: 'USER, USER:GROUP, or numbers',
    },
  );
}
