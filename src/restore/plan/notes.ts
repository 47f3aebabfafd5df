/** What to know before the first step, and what no snapshot holds. */
import { knownClientUrls } from './members.ts';
import { hostOf } from './shell.ts';
import type { PlanInput, RestorePlan } from './types.ts';

export function warnings(input: PlanInput): string[] {
  const { source, cluster, targets, platform, minor } = input;
  const gap = gapMs(input);
  const voters = cluster.members.length;
  const native = platform !== 'rke2' && platform !== 'k3s';
  const https = cluster.members.some(({ peerUrls }) => peerUrls.some((url) => url.startsWith('https:')));
  return [
    ...(source.suspect === undefined ? [] : [`the backup is suspect: ${source.suspect}`]),
    ...(source.alarms.includes('CORRUPT')
      ? ['CORRUPT was armed when the backup was taken: a member had other data than the others, perhaps this one']
      : []),
    ...(source.alarms.includes('NOSPACE') && native
      ? [
          'NOSPACE was armed when the backup was taken. The alarm is left out, but the database is as full as it was: compact and defragment soon, or raise the quota',
        ]
      : []),
    ...(gap !== undefined && gap > 0 ? ['what was written between the backup and the time that was asked for is not in it'] : []),
    ...(source.encrypted
      ? ['the backup is encrypted: every machine that restores needs the identity. The data directories are not encrypted']
      : []),
    ...(source.auth === true
      ? ['users, roles and passwords are in the backup: they are as they were then, and the same ones are needed after it']
      : []),
    ...(native && cluster.members.every(({ peerUrls }) => peerUrls.every((url) => hostOf(url) === 'localhost'))
      ? ['no other machine can reach these members: for a cluster of several machines name them with --initial-cluster']
      : []),
    ...(native && voters % 2 === 0
      ? [`${voters} members survive the loss of no more than ${Math.ceil(voters / 2) - 1}, as ${voters - 1} would: an odd number is better`]
      : []),
    ...(native && https ? ['peer certificates have to be valid for the hosts of these peer URLs, and signed by one CA'] : []),
    ...(native && targets.some(({ member, clientUrls }) => clientUrls === undefined && knownClientUrls(input, member) === undefined)
      ? ['client URLs are assumed: port 2379 of the host of the first peer URL']
      : []),
    ...(targets.length > 1 && targets.some(({ here }) => here !== true)
      ? [`the other machines are taken to be like this one (${platform}${native ? `, etcd ${minor}` : ''})`]
      : []),
  ];
}

/** ms between the time that was asked for and the backup's. */
export function gapMs({ source }: PlanInput): number | undefined {
  if (source.askedTime === undefined || source.time === undefined) return undefined;
  return Date.parse(source.askedTime) - Date.parse(source.time);
}

/** By platform: where each piece usually lies. */
export function notInSnapshot({ platform, source }: PlanInput): RestorePlan['notInSnapshot'] {
  const kubernetes = source.kubernetes !== false;
  if (platform === 'rke2' || platform === 'k3s')
    return [
      {
        what: 'the server token: the key to the certificates and keys that the snapshot does hold, encrypted with it',
        where: `/var/lib/rancher/${platform}/server/token`,
      },
      { what: 'the configuration of the servers and agents', where: `/etc/rancher/${platform}` },
      { what: 'images, volumes, and whatever workloads keep outside etcd', where: 'their own backups' },
    ];
  const kubeadm = platform === 'kubeadm';
  return [
    {
      what: "the PKI of etcd: CA, and each member's server, peer and client certificates with their keys",
      where: kubeadm ? '/etc/kubernetes/pki/etcd' : 'where --trusted-ca-file, --cert-file, --key-file and the --peer-* ones of etcd point',
    },
    {
      what: 'the settings of etcd: quota, compaction, listen URLs, ...',
      where: kubeadm ? '/etc/kubernetes/manifests/etcd.yaml' : 'its unit, environment file or configuration file',
    },
    ...(kubernetes
      ? [
          {
            what: "the cluster's CAs and service account keys: without the same ones no node and no token is accepted",
            where: '/etc/kubernetes/pki',
          },
          {
            what: 'the encryption-provider configuration of the API server: without its keys the Secrets that it encrypted stay unreadable',
            where: 'where --encryption-provider-config of kube-apiserver points',
          },
          { what: 'volumes, and whatever workloads keep outside etcd', where: 'their own backups' },
        ]
      : []),
  ];
}
