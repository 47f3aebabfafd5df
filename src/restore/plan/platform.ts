/** Where etcd runs on this machine, by the files that each platform keeps. Nothing is asked of a service manager: it may be down in a rescue. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Platform } from '../types.ts';
import { findEtcdUnit, placesIn, type Places } from './systemd-unit.ts';

export interface DetectedPlatform extends Places {
  readonly platform: Platform;
  readonly reason: string;
  /** Of systemd, without `.service`. */
  readonly unit?: string;
}

const MANIFEST = 'etc/kubernetes/manifests/etcd.yaml';
/** Where the steps of a restore put it meanwhile. */
const PARKED_MANIFEST = 'etc/kubernetes/manifests.before-restore/etcd.yaml';

/** Shows more than one: first the ones that own their etcd whatever else lies on the machine. */
export async function detectPlatform(signal: AbortSignal, root = '/'): Promise<DetectedPlatform> {
  signal.throwIfAborted();
  for (const platform of ['rke2', 'k3s'] as const) {
    const found = await firstFound(root, [
      `etc/rancher/${platform}`,
      `var/lib/rancher/${platform}/server`,
      `etc/systemd/system/${platform === 'rke2' ? 'rke2-server' : 'k3s'}.service`,
    ]);
    if (found !== undefined) return { platform, reason: `/${found} exists` };
  }
  const openshift = await firstFound(root, ['etc/kubernetes/static-pod-resources']);
  if (openshift !== undefined)
    return {
      platform: 'plain',
      reason: `/${openshift} exists: OpenShift restores by a procedure of its own (cluster-restore.sh), which this plan does not replace`,
    };
  for (const path of [MANIFEST, PARKED_MANIFEST]) {
    const manifest = await text(join(root, path));
    if (manifest !== undefined) return { platform: 'kubeadm', reason: `/${path} exists`, ...placesIn(manifest) };
  }
  const unit = await findEtcdUnit(root);
  if (unit !== undefined) {
    const { name, folder, ...places } = unit;
    return { platform: 'systemd', reason: `${name}.service is in /${folder}`, unit: name, ...places };
  }
  return { platform: 'plain', reason: 'neither RKE2, k3s, kubeadm nor a systemd unit of etcd is on this machine' };
}

async function firstFound(root: string, paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    if (
      await stat(join(root, path)).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

/** Undefined when it is not there or may not be read. */
async function text(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
