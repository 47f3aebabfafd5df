/** What has to be done on a machine around a restore, per platform: stop and start etcd, and the API servers before and after it. */
import type { Platform } from '../types.ts';
import { command, quote } from './shell.ts';

export const MANIFESTS = '/etc/kubernetes/manifests';
/** Beside it, where no kubelet looks: a folder below it would be read as well on some. */
export const PARKED = '/etc/kubernetes/manifests.before-restore';

/** The pods that write through the API server, and it. */
const CONTROL_PLANE = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;

/** Moves static pods out of the kubelet's sight and waits until their containers are gone: the kubelet looks every 20 s. */
export function parkPods(...pods: readonly string[]): string[] {
  return [
    `mkdir -p -m 0700 ${PARKED}`,
    ...pods.map((pod) => `mv ${MANIFESTS}/${pod}.yaml ${PARKED}/`),
    ...pods.map((pod) => `until ids=$(crictl ps -q --name '^${pod}$') && [ -z "$ids" ]; do sleep 1; done`),
  ];
}

export function unparkPods(...pods: readonly string[]): string[] {
  return pods.map((pod) => `mv ${PARKED}/${pod}.yaml ${MANIFESTS}/`);
}

export function stopApiServers(): string[] {
  return parkPods(...CONTROL_PLANE);
}

/** The API server first: the others elect leaders through it. */
export function startApiServers(): string[] {
  return [
    ...unparkPods('kube-apiserver'),
    'until kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /readyz; do sleep 2; done',
    ...unparkPods('kube-controller-manager', 'kube-scheduler'),
  ];
}

/** On the machine of each member; empty where nobody but the operator knows how etcd is started. */
export function stopEtcd(platform: Platform, unit: string): string[] {
  if (platform === 'kubeadm') return parkPods('etcd');
  if (platform === 'systemd') return [command('systemctl', 'stop', unit), `! ${command('systemctl', 'is-active', unit)}`];
  return [];
}

export function startEtcd(platform: Platform, unit: string): string[] {
  if (platform === 'kubeadm') return unparkPods('etcd');
  if (platform === 'systemd') return [command('systemctl', 'start', '--no-block', unit)];
  return [];
}

/** The lines of kubeadm's etcd.yaml as they should be. */
export function manifestLines(flags: readonly string[]): string[] {
  return flags
    .filter((flag) => /^--(name|data-dir|wal-dir|initial-)/u.test(flag))
    .map((flag) => `- ${/^[\w=:,./@%+-]+$/u.test(flag) ? flag : quote(flag)}`);
}
