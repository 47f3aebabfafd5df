/** What each member's machine needs: places, commands, and what its etcd is started with. */
import { command, hostOf } from './shell.ts';
import { etcdutlWay, fetchCommands, initialCluster, restoreWords } from './commands.ts';
import type { NewMember } from '../types.ts';
import type { MemberPlan, PlanInput, PlanTarget } from './types.ts';

const CLIENT_PORT = 2379;

export function memberPlans(input: PlanInput): MemberPlan[] {
  const byName = input.cluster.members.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return byName.flatMap((member) => {
    const target = input.targets.find(({ member: name }) => name === member.name);
    return target === undefined ? [] : [memberPlan(input, member, target)];
  });
}

function memberPlan(input: PlanInput, member: NewMember, target: PlanTarget): MemberPlan {
  const { dataDir, walDir, here } = target;
  const clientUrls = clientUrlsOf(input, target);
  const settings = etcdSettings(input, member, target, clientUrls);
  return {
    name: member.name,
    id: member.id.toString(16),
    peerUrls: member.peerUrls,
    clientUrls,
    host: hostOf(member.peerUrls[0] ?? ''),
    here,
    dataDir,
    walDir,
    fetch: fetchCommands(input, member, target),
    restore: command(
      ...restoreWords(input, { members: [member.name], dataDir, walDir, here: here === true, replace: target.occupied !== false }),
    ),
    etcdutl: etcdutlWay(input, member, target),
    flags: settings.map(([name, value]) => `--${name}=${value}`),
    environment: Object.fromEntries(settings.map(([name, value]) => [`ETCD_${name.toUpperCase().replaceAll('-', '_')}`, value])),
  };
}

/**
 * etcd reads the `initial-*` ones only where it finds no WAL: a restored directory knows its members. They count when the directory is empty or another one by
 * mistake, and then `new` with this very token makes an empty member with the ids that the others expect: they take it for their own and never send it the data
 * (tried on 3.4 to 3.7: revision 2 beside 12, no error anywhere). With `existing` it gets everything from the others, or does not start.
 */
function etcdSettings(
  input: PlanInput,
  member: NewMember,
  { dataDir, walDir }: PlanTarget,
  clientUrls: readonly string[],
): [string, string][] {
  return [
    ['name', member.name],
    ['data-dir', dataDir],
    ...(walDir === undefined ? [] : [['wal-dir', walDir] satisfies [string, string]]),
    ['listen-peer-urls', listen(member.peerUrls)],
    ['listen-client-urls', listen(clientUrls)],
    ['advertise-client-urls', clientUrls.join(',')],
    ['initial-advertise-peer-urls', member.peerUrls.join(',')],
    ['initial-cluster', initialCluster(input)],
    ['initial-cluster-token', input.cluster.token],
    ['initial-cluster-state', 'existing'],
  ];
}

/** As they were told; else those of the configured endpoints that only this member can be; else etcd's usual port beside its first peer URL. */
function clientUrlsOf(input: PlanInput, { member, clientUrls }: PlanTarget): readonly string[] {
  return (
    clientUrls ??
    knownClientUrls(input, member) ??
    urlsOf(input, member)
      .slice(0, 1)
      .map((url) => url.replace(/:\d+$/u, `:${CLIENT_PORT}`))
  );
}

/** Undefined where several members share a host, and where no endpoint is on it. */
export function knownClientUrls(input: PlanInput, member: string): readonly string[] | undefined {
  const hosts = urlsOf(input, member).map(hostOf);
  const shared = input.cluster.members.some(({ name, peerUrls }) => name !== member && peerUrls.some((url) => hosts.includes(hostOf(url))));
  const found = shared ? [] : (input.endpoints ?? []).filter((url) => hosts.includes(hostOf(url)));
  return found.length === 0 ? undefined : found;
}

function urlsOf({ cluster }: PlanInput, member: string): readonly string[] {
  return cluster.members.find(({ name }) => name === member)?.peerUrls ?? [];
}

/** etcd binds to addresses, not to names. */
function listen(urls: readonly string[]): string {
  return [
    ...new Set(
      urls.map((url) => {
        const host = hostOf(url);
        return /^[\d.]+$|:/u.test(host) || host === 'localhost' ? url : url.replace(`://${host}`, '://0.0.0.0');
      }),
    ),
  ].join(',');
}
