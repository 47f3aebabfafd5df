/**
 * RKE2 and k3s add and remove the members of their etcd themselves: a member that somebody else added has neither the certificates nor the settings that their
 * servers give it. Their way: the node is deleted, which removes its member; an emptied server joins as a new one. Pure.
 */

const PLACES = {
  rke2: {
    unit: 'rke2-server',
    folder: '/var/lib/rancher/rke2',
    config: '/etc/rancher/rke2/config.yaml',
    port: 9345,
    kill: 'rke2-killall.sh',
  },
  k3s: { unit: 'k3s', folder: '/var/lib/rancher/k3s', config: '/etc/rancher/k3s/config.yaml', port: 6443, kill: undefined },
} as const;

/** @param member as the member list has it: the node's name and eight hex digits */
export function rancherProcedure(platform: keyof typeof PLACES, member: string): string {
  const { unit, folder, config, port, kill } = PLACES[platform];
  const node = member.replace(/-[0-9a-f]{8}$/, '');
  return [
    `${platform} brings its members back itself; etcd-warden adds none there. While the other servers have quorum:`,
    '',
    `on the machine of ${node}:`,
    `  systemctl stop ${unit}`,
    ...(kill === undefined ? [] : [`  ${kill}`]),
    `  mv ${folder}/server/db ${folder}/server/db.replaced-$(date -u +%Y%m%dT%H%M%SZ)`,
    '',
    'on another server (it removes the member too; never with --force, which leaves it in the member list):',
    `  kubectl delete node ${node}`,
    '',
    `on the machine of ${node}: ${config} must have \`server: https://OTHER-SERVER:${port}\` and the token, and not cluster-init, or it founds a cluster of its own. Then:`,
    `  systemctl start ${unit}`,
    '',
    `then \`etcd-warden member list\`: a new ${node}-... is a learner at first, and then a voter. Only if ${member} is still in the list:`,
    `  etcd-warden member remove ${member}`,
  ].join('\n');
}
