/**
 * etcd as a static pod: the kubelet runs whatever lies in its folder of manifests. Stopping is moving the manifest out, starting is moving it back; what is
 * changed is changed outside, where the kubelet does not look.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { asError, WardenError } from '../../../errors.ts';
import { existingInManifest, readManifest } from '../manifest/static-pod.ts';
import { exists, keepCopy, moveFile, replaceFile } from './files.ts';
import type { Manager } from './manager.ts';

const LOG_BYTES = 256 * 1024;
const POD_LOGS = '/var/log/pods';

/** @param manifest absolute, in the folder that the kubelet reads. @param podLogs where the kubelet puts the logs of pods; tests set it */
export function staticPodManager(manifest: string, podLogs: string = POD_LOGS): Manager {
  // Beside the folder, under one name: a run that was interrupted finds it again. On the same file system, so that moving is renaming.
  const outside = dirname(dirname(manifest));
  const held = join(outside, `${basename(manifest)}.held-by-etcd-warden`);

  async function where(): Promise<'inside' | 'outside'> {
    const [inside, kept] = await Promise.all([exists(manifest), exists(held)]);
    if (inside && kept) {
      throw new WardenError('refused', `both ${manifest} and ${held} exist: somebody made the manifest anew while this held it`, {
        hint: 'compare the two, and remove the one that is wrong',
      });
    }
    if (!inside && !kept) throw new WardenError('usage', `there is no manifest at ${manifest}, and none at ${held}`);
    return inside ? 'inside' : 'outside';
  }

  async function text(): Promise<{ readonly path: string; readonly content: string }> {
    const path = (await where()) === 'inside' ? manifest : held;
    return { path, content: await onDisk(path, () => readFile(path, 'utf8')) };
  }

  return {
    name: manifest,
    commands: { stop: `mv ${manifest} ${held}`, start: `mv ${held} ${manifest}` },
    running: async () => (await where()) === 'inside',
    async stop() {
      if ((await where()) === 'inside') await onDisk(manifest, () => moveFile(manifest, held));
    },
    async config() {
      const { path, content } = await text();
      return readManifest(path, content);
    },
    async setExisting(stamp, signal) {
      const { path, content } = await text();
      if (path !== held) throw new WardenError('refused', `${manifest} is not changed while the kubelet reads it`);
      const edit = existingInManifest(path, content);
      if (edit.line === undefined) return undefined;
      const copy = await onDisk(held, () => keepCopy(held, join(outside, `${basename(manifest)}.replaced-${stamp}`)));
      await onDisk(held, () => replaceFile(held, edit.text, signal));
      return { path: held, copy, line: edit.line, before: edit.before, after: edit.after };
    },
    async start() {
      if ((await where()) === 'outside') await onDisk(manifest, () => moveFile(held, manifest));
    },
    log: () => newestLog(podLogs),
  };
}

/** `/var/log/pods/kube-system_etcd-NODE_UID/etcd/3.log`: the newest pod, the newest of its starts. */
async function newestLog(folder: string): Promise<readonly string[]> {
  try {
    const pods = (await readdir(folder)).filter((name) => name.startsWith('kube-system_etcd-'));
    const files = await Promise.all(
      pods.map(async (pod) => {
        const inside = join(folder, pod, 'etcd');
        const names = (await readdir(inside).catch(() => [])).filter((name) => /^\d+\.log$/.test(name));
        return names.map((name) => ({ path: join(inside, name), number: Number.parseInt(name, 10) }));
      }),
    );
    const [newest] = files.flat().toSorted((a, b) => b.number - a.number);
    if (newest === undefined) return [];
    return (await readFile(newest.path, 'utf8')).slice(-LOG_BYTES).split('\n');
  } catch {
    return []; // no log is no reason to do nothing
  }
}

async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WardenError) throw error;
    throw new WardenError('disk-failed', `${path}: ${asError(error).message}`, {
      hint: 'run this as root on the machine of that member',
      cause: error,
    });
  }
}
