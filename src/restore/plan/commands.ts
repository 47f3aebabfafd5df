/** The commands that make one member: how the backup gets to its machine, `etcd-warden restore`, and etcdutl where etcd-warden is not. */
import type { NewMember } from '../types.ts';
import { command, hostOf, over, quote } from './shell.ts';
import type { EtcdutlWay, PlanInput, PlanTarget } from './types.ts';

/** Where copies for other machines go: on a disk, unlike /tmp on many systems, and readable by nobody else. */
export const CARRIED = '/var/tmp/etcd-warden-restore';

const PRIVATE = `umask 077 && mkdir -p ${CARRIED}`;

/** No other machine can read it: it lies in folders of the machine that plans alone. */
export function mustBeCarried({ source }: PlanInput): boolean {
  return source.kind === 'file' || (source.stores.length > 0 && source.stores.every(({ local }) => local));
}

/** Copies the backup to the machine of a member, as it is stored: what is encrypted stays so. */
export function fetchCommands(input: PlanInput, member: NewMember, target: PlanTarget): string[] {
  if (target.here === true || !mustBeCarried(input)) return [];
  const { source } = input;
  const host = hostOf(member.peerUrls[0] ?? '');
  if (source.kind === 'file') return [`${over(host, `${PRIVATE} && cat > ${quote(carriedFile(source.name))}`)} < ${quote(source.name)}`];
  return source.stores
    .slice(0, 1)
    .map(
      ({ address, objects }) =>
        `${command('tar', '-C', address, '-cf', '-', ...objects)} | ${over(host, `${PRIVATE} && tar -C ${CARRIED} -xf -`)}`,
    );
}

/** The words of `etcd-warden restore` for members that lie at these places; every machine must be told the same but for them. */
export function restoreWords(
  input: PlanInput,
  places: {
    readonly members: readonly string[];
    readonly dataDir: string;
    readonly walDir: string | undefined;
    readonly here: boolean;
    readonly replace: boolean;
  },
): string[] {
  const { source, cluster, content, attempt } = input;
  const carried = !places.here && mustBeCarried(input);
  const reference = carried && source.kind === 'file' ? carriedFile(source.name) : source.name;
  return [
    'etcd-warden',
    'restore',
    reference,
    ...(carried ? carriedFlags(input) : input.sourceFlags),
    ...places.members.flatMap((name) => ['--member', name]),
    '--initial-cluster',
    initialCluster(input),
    '--data-dir',
    places.dataDir,
    ...(places.walDir === undefined ? [] : ['--wal-dir', places.walDir]),
    ...(input.tokenGiven ? ['--initial-cluster-token', cluster.token] : []),
    ...(attempt === 1 ? [] : ['--attempt', String(attempt)]),
    ...contentWords(content),
    '--etcd-version',
    input.minor,
    ...(input.builderAsked === 'auto' ? [] : ['--builder', input.builderAsked]),
    ...(input.owner === undefined ? [] : ['--owner', input.owner]),
    ...(input.acceptSuspect ? ['--accept-suspect'] : []),
    ...(places.replace ? ['--replace'] : []),
  ];
}

/** With etcd's own tool, where that makes the same member. */
export function etcdutlWay(input: PlanInput, member: NewMember, target: PlanTarget): EtcdutlWay {
  const reason = whyNotEtcdutl(input);
  if (reason !== undefined) return { possible: false, reason };
  const { source, cluster, minor } = input;
  const file = `${CARRIED}/${source.kind === 'backup' ? source.name : 'snapshot'}.db`;
  const away = awayName(target.dataDir, input.time);
  const exported = command('etcd-warden', 'export', source.name, target.here === true ? file : '-', ...input.sourceFlags);
  const tool = minor === '3.4' ? ['etcdctl', 'snapshot', 'restore'] : ['etcdutl', 'snapshot', 'restore'];
  const restore = command(
    ...tool,
    file,
    `--name=${member.name}`,
    `--data-dir=${target.dataDir}`,
    ...(target.walDir === undefined ? [] : [`--wal-dir=${target.walDir}`]),
    `--initial-cluster=${initialCluster(input)}`,
    `--initial-cluster-token=${cluster.token}`,
    `--initial-advertise-peer-urls=${member.peerUrls.join(',')}`,
  );
  const moved = (path: string): string => `[ ! -e ${quote(path)} ] || mv ${quote(path)} ${quote(awayName(path, input.time))}`;
  return {
    possible: true,
    commands: [
      target.here === true
        ? `(${PRIVATE} && ${exported})`
        : `${exported} | ${over(hostOf(member.peerUrls[0] ?? ''), `${PRIVATE} && cat > ${quote(file)}`)}`,
      moved(target.dataDir),
      ...(target.walDir === undefined ? [] : [moved(target.walDir)]),
      minor === '3.4' ? `ETCDCTL_API=3 ${restore}` : restore,
      `[ ! -e ${quote(away)} ] || chown -R --reference=${quote(away)} ${quote(target.dataDir)}`,
    ],
    notes: [
      'the first command runs where etcd-warden is, the others on the machine of the member',
      ...(source.alarms.includes('NOSPACE')
        ? ['etcdutl keeps the NOSPACE alarm that is armed in the backup: etcdctl alarm disarm, when the cluster is up']
        : []),
      ...(minor === '3.4'
        ? [
            'etcdctl 3.4 leaves the members of the old cluster in the database, where etcd 3.6 finds them after upgrades: --builder native does not',
          ]
        : []),
    ],
  };
}

export function initialCluster({ cluster }: PlanInput): string {
  return cluster.members
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ name, peerUrls }) => peerUrls.map((url) => `${name}=${url}`))
    .join(',');
}

/** What a directory is called that is moved away by hand: as `--replace` calls it. */
export function awayName(path: string, time: string): string {
  return `${path}.before-restore-${time.replaceAll(/[-:.]/gu, '')}`;
}

function carriedFile(path: string): string {
  return `${CARRIED}/${path.slice(path.lastIndexOf('/') + 1)}`;
}

/** Configuration and stores of the machine that plans mean nothing elsewhere; a key is still needed. */
function carriedFlags({ source, sourceFlags }: PlanInput): string[] {
  const at = sourceFlags.indexOf('--identity-file');
  return [
    ...(source.kind === 'backup' ? ['--from', CARRIED] : []),
    ...(source.cluster === undefined ? [] : ['--cluster', source.cluster]),
    ...(at < 0 ? [] : sourceFlags.slice(at, at + 2)),
  ];
}

function contentWords({ revision, only, without, defragmented, bump }: PlanInput['content']): string[] {
  return [
    ...(revision === undefined ? [] : ['--revision', revision.toString()]),
    ...only.flatMap((prefix) => ['--only', prefix.toString()]),
    ...without.flatMap((prefix) => ['--without', prefix.toString()]),
    ...(defragmented ? ['--defragmented'] : []),
    ...(bump === 'auto' ? [] : bump === 'none' ? ['--no-bump'] : ['--bump-revision', bump.by.toString()]),
  ];
}

function whyNotEtcdutl({ content, source }: PlanInput): string | undefined {
  if (content.revision !== undefined) return 'etcdutl restores the newest revision of a snapshot only';
  if (content.only.length > 0 || content.without.length > 0) return 'etcdutl restores all keys';
  if (content.bump === 'none' || (content.bump === 'auto' && source.kubernetes === false)) return undefined;
  const leaves = 'etcdutl raises revisions by an empty record that stays for ever, so that its member would differ from the others';
  return content.bump === 'auto' && source.kubernetes === undefined
    ? `revisions are raised if keys of Kubernetes are found, and ${leaves}`
    : `revisions are raised, and ${leaves}`;
}
