/** The steps of a restore member by member, in their order: for systemd, kubeadm and plain etcd. */
import { dirname } from 'node:path/posix';
import { CARRIED, restoreWords } from './commands.ts';
import { PARKED, manifestLines, startApiServers, startEtcd, stopApiServers, stopEtcd } from './around.ts';
import { command } from './shell.ts';
import { step } from './step.ts';
import type { MemberPlan, PlanInput, PlanStep, RestorePlan } from './types.ts';

const MEMBERS = "each member's machine";
const API_SERVERS = 'every machine with an API server';
const KUBEADM_ACCESS = [
  '--cacert',
  '/etc/kubernetes/pki/etcd/ca.crt',
  '--cert',
  '/etc/kubernetes/pki/etcd/healthcheck-client.crt',
  '--key',
  '/etc/kubernetes/pki/etcd/healthcheck-client.key',
];

export function memberSteps(input: PlanInput, members: readonly MemberPlan[], revisions: RestorePlan['revisions']): PlanStep[] {
  return [
    ...fetchSteps(input, members),
    stopClients(input),
    stopMembers(input),
    ...restoreSteps(input, members),
    ...configureSteps(input, members),
    ...startMembers(input, members),
    check(input, members),
    startClients(input),
    ...(input.source.kubernetes === false ? [] : [restartCaches(revisions)]),
    cleanUp(input, members),
  ];
}

function fetchSteps(input: PlanInput, members: readonly MemberPlan[]): PlanStep[] {
  return members
    .filter(({ fetch }) => fetch.length > 0)
    .map((member) =>
      step({
        name: 'fetch',
        title: 'bring the backup to the machines that do not have it',
        why: `it lies on this machine alone${input.source.encrypted ? '; it stays encrypted on the way and over there, and the identity has to be there too' : ''}`,
        where: `this machine, for ${member.name}`,
        member: member.name,
        commands: member.fetch,
        notes:
          member.here === undefined
            ? [`not needed when ${member.name} is on this machine: then restore it from ${input.source.name} as it lies here`]
            : [],
      }),
    );
}

function stopClients({ platform, source }: PlanInput): PlanStep {
  const why = 'what is written from now on is lost, and a client that sees the new cluster half built acts on it';
  if (platform === 'kubeadm')
    return step({
      name: 'stop-clients',
      title: 'stop the API servers',
      why,
      where: API_SERVERS,
      commands: stopApiServers(),
      notes: [CRICTL],
    });
  if (source.kubernetes === false)
    return step({ name: 'stop-clients', title: 'stop everything that writes to this cluster', why, where: 'wherever its clients run' });
  return step({
    name: 'stop-clients',
    title: source.kubernetes === true ? 'stop the API servers' : 'stop the clients; of Kubernetes, the API servers',
    why,
    where: API_SERVERS,
    commands: stopApiServers(),
    notes: [
      'as kubeadm sets them up; elsewhere stop kube-apiserver, kube-controller-manager and kube-scheduler as they were started',
      CRICTL,
    ],
  });
}

const CRICTL = 'a crictl that cannot reach the container runtime needs --runtime-endpoint unix:///run/containerd/containerd.sock';

function stopMembers(input: PlanInput): PlanStep {
  const { platform } = input;
  return step({
    name: 'stop-etcd',
    title: 'stop every etcd of the old cluster',
    why: 'a member that goes on keeps its directory in use, holds the ports, and serves the old data; all of them, before the first restore',
    where: MEMBERS,
    commands: stopEtcd(platform, unitOf(input)),
    notes: platform === 'plain' ? ['as it was started; `pgrep -ax etcd` shows whether one is left'] : [],
  });
}

/** One command for members that lie on this machine in folders that differ by their names alone: the backup is read once. */
function restoreSteps(input: PlanInput, members: readonly MemberPlan[]): PlanStep[] {
  const why = 'verifies the backup while it builds beside, and takes the name only when all of it is right; what stood there is kept';
  const together = patterned(members);
  if (together !== undefined)
    return [
      step({
        name: 'restore',
        title: `restore ${members.map(({ name }) => name).join(', ')}`,
        why: `${why}; the backup is read once for all of them`,
        where: 'this machine',
        commands: [
          command(
            ...restoreWords(input, {
              ...together,
              members: members.map(({ name }) => name),
              here: true,
              replace: replaces(input, members),
            }),
          ),
        ],
      }),
    ];
  return members.map((member) =>
    step({
      name: 'restore',
      title: 'restore',
      why,
      where: whereOf(member),
      member: member.name,
      commands: [member.restore],
      notes: elsewhereNotes(input, member),
    }),
  );
}

/** What a command rests on that may not be on the machine of the member. */
function elsewhereNotes({ source, sourceFlags }: PlanInput, { here, fetch }: MemberPlan): string[] {
  if (here === true) return [];
  if (fetch.length > 0)
    return source.encrypted && !sourceFlags.includes('--identity-file')
      ? ['--identity-file FILE as well: with --from, or for a file, no configuration is read that could name it']
      : [];
  const at = sourceFlags.indexOf('--config');
  return at < 0 ? [] : [`${sourceFlags[at + 1] ?? 'the configuration file'} has to be there too, or name the store with --from`];
}

function replaces({ targets }: PlanInput, members: readonly MemberPlan[]): boolean {
  return members.some(({ name }) => targets.find(({ member }) => member === name)?.occupied !== false);
}

/** The places as `--data-dir` and `--wal-dir` take them for several members. */
function patterned(members: readonly MemberPlan[]): { readonly dataDir: string; readonly walDir: string | undefined } | undefined {
  const [first] = members;
  if (first === undefined || members.length < 2 || !members.every(({ here }) => here === true)) return undefined;
  const pattern = ({ name }: MemberPlan, path: string | undefined): string | undefined => {
    const end = path?.lastIndexOf(name) ?? -1;
    return path === undefined ? undefined : end < 0 ? '' : `${path.slice(0, end)}{member}${path.slice(end + name.length)}`;
  };
  const dataDir = pattern(first, first.dataDir);
  const walDir = pattern(first, first.walDir);
  const same = members.every((each) => pattern(each, each.dataDir) === dataDir && pattern(each, each.walDir) === walDir);
  return same && dataDir !== undefined && dataDir !== '' && walDir !== '' ? { dataDir, walDir } : undefined;
}

/** Nothing has to be changed as a rule, which is said: etcd reads its members from the restored directory. */
function configureSteps({ platform }: PlanInput, members: readonly MemberPlan[]): PlanStep[] {
  const why =
    'a restored directory knows its members, and etcd reads the initial-* settings only where it finds none: with `existing` a member whose directory is wrong or empty gets the data from the others or does not start; with `new` and this token it would serve an empty database, and nobody would notice';
  return members.map((member) =>
    step({
      name: 'configure',
      title: 'see that etcd is started with these',
      why,
      where: whereOf(member),
      member: member.name,
      commands: platform === 'kubeadm' ? [`grep -nE -- '--(name|data-dir|wal-dir|initial-[a-z-]+)=|path: ' ${PARKED}/etcd.yaml`] : [],
      notes:
        platform === 'kubeadm'
          ? [
              `in ${PARKED}/etcd.yaml these stand under command, once each (the command shows what is there now); the other lines stay as they are, and the hostPath of etcd-data is the data directory`,
              ['what has to stand there', ...manifestLines(member.flags)].join('\n'),
            ]
          : ['name, directories and URLs have to be right; the other settings of that etcd stay as they are (certificates, quota, ...)'],
    }),
  );
}

function startMembers(input: PlanInput, members: readonly MemberPlan[]): PlanStep[] {
  const { platform } = input;
  const common = {
    name: 'start-etcd',
    title: 'start every etcd',
    why:
      members.length === 1
        ? 'it serves as soon as it is up'
        : `within a few minutes of each other: ${Math.floor(members.length / 2) + 1} of ${members.length} have to be there before any of them serves`,
  };
  if (platform !== 'plain') return [step({ ...common, where: MEMBERS, commands: startEtcd(platform, unitOf(input)) })];
  const https = members.some(({ peerUrls }) => peerUrls.some((url) => url.startsWith('https:')));
  return members.map((member) =>
    step({
      ...common,
      where: whereOf(member),
      member: member.name,
      commands: [command('etcd', ...member.flags)],
      notes: [`with the other flags that it had${https ? ', certificates among them' : ''}`],
    }),
  );
}

function check(input: PlanInput, members: readonly MemberPlan[]): PlanStep {
  const access = input.accessFlags.length === 0 && input.platform === 'kubeadm' ? KUBEADM_ACCESS : input.accessFlags;
  const [first] = members.filter(({ here }) => here === true).concat(members);
  const record = `${first?.dataDir ?? ''}.restore.json`;
  return step({
    name: 'check',
    title: 'check what was restored',
    why: 'asks every member for the members, alarms, revision and HashKV that the restore recorded: it is restored when this says so',
    where: first === undefined ? MEMBERS : whereOf(first),
    commands: [
      command(
        'etcd-warden',
        'restore',
        '--check',
        // Else a configuration file in the usual place would count, beside which these flags are refused.
        ...(access.includes('--config') ? [] : ['--endpoints']),
        members.flatMap(({ clientUrls }) => clientUrls).join(','),
        '--record',
        record,
        ...access,
      ),
    ],
    notes: input.source.alarms.includes('NOSPACE') ? ['NOSPACE was left out of the directories: nothing has to be disarmed'] : [],
  });
}

function startClients({ platform, source }: PlanInput): PlanStep {
  const why = 'only now: what they write before the check cannot be told from what was restored';
  if (source.kubernetes === false && platform !== 'kubeadm')
    return step({ name: 'start-clients', title: 'start the clients', why, where: 'wherever they run' });
  return step({ name: 'start-clients', title: 'start the API servers', why, where: API_SERVERS, commands: startApiServers() });
}

export function restartCaches(revisions: RestorePlan['revisions']): PlanStep {
  return step({
    name: 'restart-caches',
    title: 'restart what caches revisions',
    why:
      revisions.raised === 'yes'
        ? 'most clients notice by themselves, since their revisions are compacted; some caches are not built on watches'
        : 'they would go on with what they saw before, and miss what was restored',
    where: 'every node, then any machine with kubectl',
    commands: [
      'systemctl restart kubelet',
      'kubectl -n kube-system rollout restart daemonset',
      'kubectl -n kube-system rollout restart deployment',
    ],
    notes: [
      'kube-controller-manager and kube-scheduler were restarted with the API servers; network plugins and operators in namespaces of their own are restarted the same way',
      'nodes, pods and volumes that were made after the backup are unknown to this cluster: look for them before anything deletes or duplicates them',
    ],
  });
}

function cleanUp(input: PlanInput, members: readonly MemberPlan[]): PlanStep {
  const carried = members.some(({ fetch }) => fetch.length > 0);
  return step({
    name: 'clean-up',
    title: 'when all is well, days later: remove what was kept',
    why: 'the old directories are the way back, and hold everything that the cluster held',
    where: MEMBERS,
    commands: [
      ...new Set(members.map(({ dataDir }) => command('find', dirname(dataDir), '-maxdepth', '2', '-name', '*.before-restore-*'))),
      ...(carried ? [`rm -r ${CARRIED}`] : []),
      ...(input.platform === 'kubeadm' ? [`rmdir ${PARKED}`] : []),
    ],
  });
}

function unitOf({ unit }: PlanInput): string {
  return unit ?? 'etcd';
}

function whereOf({ name, host, here }: MemberPlan): string {
  return here === true ? `this machine (${name})` : `${name} (${host})`;
}
