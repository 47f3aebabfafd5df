/** Which members of the new cluster are made here, and where each of them goes. Pure. */
import { resolve } from 'node:path';
import { WardenError } from '../../errors.ts';
import { parsePeerUrls } from '../../etcd/peer-urls.ts';
import { parseInitialCluster, type InitialCluster } from '../../restore/identity.ts';
import type { BuildTarget } from '../../restore/types.ts';

export interface MembersWish {
  /** `--initial-cluster`, or the configuration's. */
  readonly initialCluster: string | undefined;
  /** `--member`, each one or `all`; empty = the only one. */
  readonly members: readonly string[];
  /** `--initial-advertise-peer-urls`, of the one member that is made. */
  readonly advertised: string | undefined;
  /** A plan speaks of all members, and need not know which are on this machine. */
  readonly planOnly: boolean;
}

export interface ResolvedMembers {
  readonly initialCluster: InitialCluster;
  /** Those that are made here. */
  readonly names: readonly string[];
}

/** Stands for the name of the member in the path of a directory. */
export const PLACEHOLDER = '{member}';

/** What etcd and etcdutl call a member that was given no name. */
const DEFAULT_NAME = 'default';
const DEFAULT_PEER_URL = 'http://localhost:2380';

/**
 * The members of the new cluster, with etcdutl's defaults: without `--initial-cluster` one member, at localhost.
 * @throws WardenError `usage`
 */
export function resolveMembers(wish: MembersWish): ResolvedMembers {
  const { advertised } = wish;
  const given = [...new Set(wish.members.flatMap((names) => names.split(',')).map((name) => name.trim()))];
  const only = given.length === 1 && given[0] !== 'all' ? given[0]! : DEFAULT_NAME;
  const initialCluster = parseInitialCluster(
    wish.initialCluster ??
      (advertised ?? DEFAULT_PEER_URL)
        .split(',')
        .map((url) => `${only}=${url}`)
        .join(','),
  );
  const all = [...initialCluster.keys()];
  const names = given.includes('all') || (given.length === 0 && all.length === 1) ? all : given;
  if (names.length === 0 && !wish.planOnly)
    throw new WardenError('usage', `it is not said which of ${all.length} members is made on this machine`, {
      hint: `--member with one of ${all.join(', ')}; \`all\` makes every one of them; --plan tells what to do on each machine`,
    });
  const unknown = names.find((name) => !initialCluster.has(name));
  if (unknown !== undefined)
    throw new WardenError('usage', `the initial cluster has no member ${JSON.stringify(unknown)}`, {
      hint: `it has ${all.join(', ')}: --member takes the name that stands before the \`=\` in --initial-cluster`,
    });
  if (advertised !== undefined && names.length > 0) requireAdvertised(initialCluster, names, advertised);
  return { initialCluster, names };
}

/** etcdutl refuses this as well: with other URLs than the others know, the member would have another id. */
function requireAdvertised(initialCluster: InitialCluster, names: readonly string[], advertised: string): void {
  const [name = '', ...more] = names;
  if (more.length > 0)
    throw new WardenError('usage', '--initial-advertise-peer-urls is of one member, and several are made here', {
      hint: 'leave it out: the peer URLs stand in --initial-cluster',
    });
  const [said, listed] = [parsePeerUrls(advertised, name).join(','), initialCluster.get(name)?.join(',')];
  if (said !== listed)
    throw new WardenError(
      'usage',
      `member ${name} has the peer URLs ${listed} in the initial cluster, and ${said} in --initial-advertise-peer-urls`,
      {
        hint: 'both must be the same: the ids of the members follow from them',
      },
    );
}

/**
 * @param names of the members
 * @param dataDir with `{member}` for the name where there are several
 * @throws WardenError `usage` when two would lie in one place
 */
export function resolveTargets(names: readonly string[], dataDir: string, walDir: string | undefined, folder: string): BuildTarget[] {
  const targets = names.map((member) => ({
    member,
    dataDir: resolve(folder, dataDir.replaceAll(PLACEHOLDER, member)),
    walDir: walDir === undefined ? undefined : resolve(folder, walDir.replaceAll(PLACEHOLDER, member)),
  }));
  const owners = new Map<string, string>();
  for (const { member, dataDir: data, walDir: wal } of targets)
    for (const path of wal === undefined ? [data] : [data, wal]) {
      const owner = owners.get(path);
      if (owner !== undefined)
        throw new WardenError(
          'usage',
          owner === member
            ? `${path} is to be both data directory and WAL directory`
            : `members ${owner} and ${member} are to lie in one place, ${path}`,
          {
            hint:
              owner === member
                ? 'leave out --wal-dir: the WAL lies in the data directory then'
                : `name the member in the path: --data-dir /var/lib/etcd-${PLACEHOLDER}`,
          },
        );
      owners.set(path, member);
    }
  return targets;
}
