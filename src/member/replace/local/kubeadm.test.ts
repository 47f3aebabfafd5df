/** The static pods that kubeadm really writes (test/fixtures/README.md), as a replacement reads, moves and changes them. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { faultsOf } from '../manifest/start-config.ts';
import { staticPodManager } from './static-pod.ts';

const FIXTURES = join(import.meta.dirname, '../../../../test/fixtures');
const { signal } = new AbortController();

let root: string;
let manifest: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'warden-kubeadm-'));
  mkdirSync(join(root, 'etc/kubernetes/manifests'), { recursive: true });
  manifest = join(root, 'etc/kubernetes/manifests/etcd.yaml');
});
afterEach(() => rmSync(root, { recursive: true }));

/** As `diff` says what was added and what is gone. */
function difference(before: string, after: string): string[] {
  const [left, right] = [before.split('\n'), after.split('\n')];
  return [
    ...left.filter((line) => !right.includes(line)).map((line) => `-${line}`),
    ...right.filter((line) => !left.includes(line)).map((line) => `+${line}`),
  ];
}

interface Case {
  readonly file: string;
  readonly name: string;
  readonly initialCluster: string;
  readonly added: readonly string[];
}

const FIRST = ['+    - --initial-cluster-state=existing'];

describe.each<Case>([
  ...['v1.31.14', 'v1.37.2'].flatMap((version): Case[] => [
    { file: `kubeadm-${version}/etcd.yaml`, name: 'cp1', initialCluster: 'cp1=https://10.0.0.1:2380', added: FIRST },
    {
      file: `kubeadm-${version}/etcd-joined.yaml`,
      name: 'cp2',
      initialCluster: 'cp1=https://10.0.0.1:2380,cp2=https://10.0.0.2:2380',
      added: [],
    },
  ]),
  { file: 'kubeadm-v1.37.2/etcd-ipv6.yaml', name: 'cp1', initialCluster: 'cp1=https://[fd00::11]:2380', added: FIRST },
])('$file', ({ file, name, initialCluster, added }) => {
  test('is moved out of the folder, gets its one line, is right to join with, and comes back', async () => {
    const written = readFileSync(join(FIXTURES, file), 'utf8');
    copyFileSync(join(FIXTURES, file), manifest);
    const manager = staticPodManager(manifest);
    expect(await manager.running(signal)).toBe(true);
    await manager.stop(signal);
    expect(readdirSync(join(root, 'etc/kubernetes/manifests'))).toEqual([]);
    expect(await manager.config(signal)).toMatchObject({ name, initialCluster });
    const edit = await manager.setExisting('NOW', signal);
    expect(edit === undefined).toBe(added.length === 0);
    expect(faultsOf(await manager.config(signal), { name, initialCluster })).toEqual([]);
    await manager.start(signal);
    const changed = readFileSync(manifest, 'utf8');
    expect(difference(written, changed)).toEqual(added);
    expect(changed.split('\n')).toHaveLength(written.split('\n').length + added.length);
    // Another control plane has joined since this one did, or has left.
    expect(faultsOf(await manager.config(signal), { name, initialCluster: `${initialCluster},cp9=https://10.0.0.9:2380` })).toEqual([
      expect.stringContaining(`initial-cluster=${initialCluster},cp9=https://10.0.0.9:2380`),
    ]);
  });
});
