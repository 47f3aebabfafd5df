/**
 * RKE2 and k3s own their etcd: names, URLs and certificates of its members come from them, and a data directory that somebody else made is not joined by their
 * other servers. So the backup becomes a plain file, and their own cluster-reset restores it on one server; the others join it anew.
 *
 * Read in pkg/cli/server, pkg/etcd and pkg/nodepassword of k3s, on which RKE2 is built (about 1.32), and in the documentation of both (`etcd-snapshot`, `backup_restore`).
 */
import { CARRIED, mustBeCarried } from './commands.ts';
import { command, hostOf, over, quote } from './shell.ts';
import { step } from './step.ts';
import { restartCaches } from './steps.ts';
import type { PlanInput, PlanStep, RestorePlan } from './types.ts';

interface Distribution {
  readonly program: string;
  readonly unit: string;
  readonly agent: string;
  readonly folder: string;
  readonly config: string;
  /** Where servers are joined. */
  readonly port: number;
}

const DISTRIBUTIONS: Readonly<Record<'rke2' | 'k3s', Distribution>> = {
  rke2: {
    program: 'rke2',
    unit: 'rke2-server',
    agent: 'rke2-agent',
    folder: '/var/lib/rancher/rke2',
    config: '/etc/rancher/rke2/config.yaml',
    port: 9345,
  },
  k3s: {
    program: 'k3s',
    unit: 'k3s',
    agent: 'k3s-agent',
    folder: '/var/lib/rancher/k3s',
    config: '/etc/rancher/k3s/config.yaml',
    port: 6443,
  },
};

const FIRST = 'the first server';
const OTHERS = 'each of the other servers';

export function rancherSteps(input: PlanInput, platform: 'rke2' | 'k3s', revisions: RestorePlan['revisions']): PlanStep[] {
  const { source, sourceFlags, time } = input;
  const distribution = DISTRIBUTIONS[platform];
  const { program, unit, folder, config, port } = distribution;
  const file = `${CARRIED}/${source.kind === 'backup' ? source.name : 'snapshot'}.db`;
  const exported = (to: string): string => command('etcd-warden', 'export', source.name, to, ...sourceFlags);
  const db = `${folder}/server/db`;
  return [
    step({
      name: 'export',
      title: 'write the backup as a plain file, as etcdctl writes it',
      why: `${program} restores from that; reading it compares it with what is known of the backup`,
      where: FIRST,
      commands: [`(umask 077 && mkdir -p ${CARRIED} && ${exported(file)})`],
      notes: [
        `the first server: of those that ran etcd the one without \`server:\` in ${config}; the other servers are the rest of them`,
        ...(mustBeCarried(input)
          ? [
              `when that is not this machine, from here:\n${exported('-')} | ${over(firstHost(input), `umask 077 && mkdir -p ${CARRIED} && cat > ${quote(file)}`)}`,
            ]
          : []),
        'it is not encrypted: it holds every secret of the cluster',
      ],
    }),
    step({
      name: 'stop-clients',
      title: `stop ${program}`,
      why: 'all of them, before the reset: one that goes on keeps the old cluster alive',
      where: 'every server',
      commands: [command('systemctl', 'stop', unit), ...(platform === 'rke2' ? ['rke2-killall.sh'] : [])],
      notes:
        platform === 'rke2'
          ? [
              'stopping the service leaves its containers running, the old etcd and API server among them; rke2-killall.sh ends all containers of that server, workloads too',
            ]
          : ['API server and etcd end with the service; containers of workloads go on'],
    }),
    step({
      name: 'reset',
      title: `let ${program} restore it`,
      why: `it moves ${db}/etcd away (etcd-old-...), restores the file and makes this server the only member; it ends by itself and says so`,
      where: FIRST,
      commands: [command(program, 'server', '--cluster-reset', `--cluster-reset-restore-path=${file}`)],
      notes: [
        `it refuses while \`server:\` stands in ${config}, in ${config}.d, as --server in the unit, or as ${program.toUpperCase()}_URL in its environment; where no server without it is left, take it out of this one, and leave it out`,
        `it reads the configuration, but neither the flags nor the environment of the unit: what \`systemctl cat ${unit}\` shows there has to be said here too (--data-dir and --token above all)`,
        `on a machine that was no server of this cluster: --token with the server token of the old one (${folder}/server/token), without which the keys and certificates in the snapshot cannot be read`,
        'where its configuration names etcd-s3: --etcd-s3=false as well, or the path is looked for in the bucket',
        `when it says that a reset was done before: rm ${db}/reset-flag`,
      ],
    }),
    step({
      name: 'start-first',
      title: 'start the first server',
      why: 'it serves alone, and the others join it',
      where: FIRST,
      commands: [command('systemctl', 'start', unit), `until ${program} kubectl get --raw /readyz; do sleep 2; done`].map((line) =>
        platform === 'rke2' ? line.replace('rke2 kubectl', `${folder}/bin/kubectl --kubeconfig /etc/rancher/rke2/rke2.yaml`) : line,
      ),
    }),
    step({
      name: 'move-db',
      title: 'take the old database away',
      why: 'they join as new members and get everything from the first; with their old data they would be refused',
      where: OTHERS,
      commands: [command('mv', db, `${db}.before-restore-${time.replaceAll(/[-:.]/gu, '')}`)],
      notes: [`its own snapshots in ${db}/snapshots go along`],
    }),
    step({
      name: 'start-others',
      title: 'start them, one after the other',
      why: 'each is a learner until it has caught up, and etcd takes one at a time',
      where: OTHERS,
      commands: [command('systemctl', 'start', unit)],
      notes: [
        `in ${config} of each, \`server:\` has to name the first server, port ${port}: without it an emptied server founds a cluster of its own`,
      ],
    }),
    agents(restartCaches(revisions), platform, distribution),
    step({
      name: 'clean-up',
      title: 'remove the plain file',
      why: 'it holds every secret of the cluster',
      where: FIRST,
      commands: [`rm -r ${CARRIED}`],
      notes: [`days later, when all is well: ${db}/etcd-old-* on the first server, ${db}.before-restore-* on the others`],
    }),
  ];
}

/** Kubelets are part of the agent and the server there; the server's was just started. */
function agents(caches: PlanStep, platform: 'rke2' | 'k3s', { program, agent, folder }: Distribution): PlanStep {
  const kubectl = platform === 'k3s' ? `${program} kubectl` : `${folder}/bin/kubectl --kubeconfig /etc/rancher/rke2/rke2.yaml`;
  return {
    ...caches,
    where: 'every agent, then the first server',
    commands: caches.commands.map((line) =>
      line.startsWith('systemctl') ? command('systemctl', 'restart', agent) : line.replace(/^kubectl/u, kubectl),
    ),
    notes: [
      ...caches.notes.map((note) => note.replace('restarted with the API servers', 'restarted with the servers')),
      `a node that was set up anew after the backup is told "Node password rejected": ${kubectl} -n kube-system delete secret NODE.node-password.${program}, then restart it`,
    ],
  };
}

/** A plan without an initial cluster knows no host. */
function firstHost({ cluster }: PlanInput): string {
  const host = hostOf(cluster.members[0]?.peerUrls[0] ?? 'localhost');
  return host === 'localhost' ? 'FIRST-SERVER' : host;
}
