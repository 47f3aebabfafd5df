/** Where etcd runs on this machine, by the files that each platform keeps. Nothing is asked of a service manager: it may be down in a rescue. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Platform } from '../types.ts';

export interface DetectedPlatform {
  readonly platform: Platform;
  readonly reason: string;
  /** Of systemd, without `.service`. */
  readonly unit?: string;
  /** Where etcd's unit or manifest puts its data, as far as that can be read. */
  readonly dataDir?: string;
  readonly walDir?: string;
}

/** Later ones override earlier ones. */
const UNIT_FOLDERS = ['lib/systemd/system', 'usr/lib/systemd/system', 'etc/systemd/system', 'run/systemd/system'];
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
  const unit = await etcdUnit(root);
  if (unit !== undefined)
    return { platform: 'systemd', reason: `${unit.name}.service is in /${unit.folder}`, unit: unit.name, ...placesIn(unit.text) };
  return { platform: 'plain', reason: 'neither RKE2, k3s, kubeadm nor a systemd unit of etcd is on this machine' };
}

async function etcdUnit(root: string): Promise<{ name: string; folder: string; text: string } | undefined> {
  let found: { name: string; folder: string; text: string } | undefined;
  for (const folder of UNIT_FOLDERS) {
    const names = await readdir(join(root, folder)).catch((): string[] => []);
    for (const name of names.toSorted()) {
      const match = /^(etcd(?:[-_]?(?:member|server|main|\d+))?)\.service$/u.exec(name);
      const unit = match?.[1];
      if (unit === undefined) continue;
      const content = await text(join(root, folder, name));
      if (content === undefined) continue;
      // A mask is a link to /dev/null, which reads as nothing, and hides the unit of that name in the folders before.
      if (content.trim() !== '') found = { name: unit, folder, text: content };
      else if (found?.name === unit) found = undefined;
    }
  }
  return found;
}

/** As flags or as environment, in a unit or in a manifest. Nothing where a variable stands. */
function placesIn(content: string): { dataDir?: string; walDir?: string } {
  const place = (flag: string, variable: string): string | undefined => {
    const match = new RegExp(`(?:--${flag}[= ]|${variable}=)["']?(/[^\\s"'$%]+)`, 'u').exec(content);
    return match?.[1];
  };
  const dataDir = place('data-dir', 'ETCD_DATA_DIR');
  const walDir = place('wal-dir', 'ETCD_WAL_DIR');
  return { ...(dataDir === undefined ? {} : { dataDir }), ...(walDir === undefined ? {} : { walDir }) };
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
