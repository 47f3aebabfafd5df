import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCluster, type Cluster, type ClusterOptions } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { product, type Product } from '../../support/product.ts';
import {
  BREAKS,
  environmentIn,
  expectWhole,
  fakeKubelet,
  initialClusterOf,
  joinFlags,
  oldData,
  replaced,
} from '../../support/replacing.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'warden-releases-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Told twice to, when he has stopped it and not moved it yet. */
function moveAway(dataDir: string): void {
  if (existsSync(dataDir)) renameSync(dataDir, `${dataDir}.replaced-by-hand`);
}

/** A cluster with a writer around a test, which ends with three voters that have the same data. */
async function around(
  minor: ClusterOptions['minor'],
  broken: string,
  work: (cluster: Cluster, subject: Product) => Promise<void>,
): Promise<void> {
  await using cluster = await startCluster({ minor, members: 3 });
  const own = join(folder, minor);
  const subject = product({ folder: own, cluster, clusterOptions: { dialTimeout: '2s' } });
  await cluster.fill({ keys: 100, valueBytes: 100 });
  const gone = (await cluster.members[2]!.status()).memberId;
  await BREAKS[broken]!(cluster.members[2]!, cluster, own);
  const writer = cluster.writer({ perSecond: 50 });
  await work(cluster, subject);
  expect((await writer.stop()).written).toBeGreaterThan(10);
  await expectWhole(cluster, gone);
}

test.concurrent('a member of 3.4 on another machine is replaced by what its operator is told and asked', async () => {
  await around('3.4', 'it was restored alone from a backup', async (cluster, subject) => {
    const member = cluster.members[2]!;
    const told: string[] = [];
    const asked: string[] = [];
    await replaced({
      product: subject,
      member: 'm3',
      tell(text) {
        told.push(text);
        const environment = environmentIn(text);
        if ('ETCD_INITIAL_CLUSTER' in environment) void member.restart({ flags: joinFlags(cluster, environment), wait: false });
        else void member.stop();
      },
      ask(question) {
        asked.push(question);
        moveAway(member.dataDir);
        return Promise.resolve(true);
      },
    });
    expect(told).toHaveLength(2);
    expect(told[0]).toContain('stop its etcd, so that nothing starts it again');
    expect(told[1]).toContain('ETCD_INITIAL_CLUSTER_STATE="existing"');
    expect(asked).toEqual([expect.stringContaining('has its old data been moved away?')]);
  });
});

test.concurrent('a member of 3.5 in a static pod is replaced, one line of its manifest changes, and another one is left to its operator', async () => {
  await around('3.5', 'its disk is gone', async (cluster, subject) => {
    const member = cluster.members[2]!;
    const own = join(folder, 'kubernetes');
    mkdirSync(own);
    const template = readFileSync(join(import.meta.dirname, '../../support/static-pod.yaml'), 'utf8').replace('NAME', member.name);
    // As kubeadm leaves it on the first control plane: with an empty disk the kubelet has made a cluster of its own of it.
    const alone = template.replace('INITIAL_CLUSTER', `m3=${member.peer}`);
    await using kubelet = fakeKubelet(own, member, alone);
    await until(async () => (await member.status().catch(() => undefined))?.leader !== undefined, 'the kubelet does not start it');
    const told: string[] = [];
    const { task, result } = await replaced({
      product: subject,
      member: 'm3',
      request: { place: { dataDir: member.dataDir, walDir: undefined }, managedBy: { staticPod: kubelet.manifest } },
      tell(text) {
        told.push(text);
        const held = join(own, 'etcd.yaml.held-by-etcd-warden');
        writeFileSync(held, readFileSync(held, 'utf8').replace(`m3=${member.peer}`, /initial-cluster=(m1\S+)/.exec(text)![1]!));
      },
    });
    expect(task.preview.symptoms.map(({ code }) => code)).toContain('other-cluster');
    expect(task.preview.gates.find(({ rule }) => rule === 'start-settings')).toMatchObject({ verdict: 'warned' });
    expect(told).toEqual([expect.stringMatching(/not started before this is changed.*exactly the members there are/s)]);
    expect(result.steps.map(({ step }) => step)).toEqual(expect.arrayContaining(['remove', 'stop', 'move-data', 'add', 'start', 'check']));
    const after = readFileSync(kubelet.manifest, 'utf8').split('\n');
    // kubeadm writes the flag for joined members only, so a line comes to it.
    const line = after.findIndex((text) => text.includes('initial-cluster-state'));
    expect(after[line]).toBe('    - --initial-cluster-state=existing');
    expect(after.toSpliced(line, 1).join('\n')).toBe(template.replace('INITIAL_CLUSTER', initialClusterOf(cluster)));
    expect(readdirSync(dirname(kubelet.manifest))).toEqual(['etcd.yaml']);
    const [copy, ...others] = readdirSync(own).filter((name) => name.startsWith('etcd.yaml.'));
    expect(others).toEqual([]);
    expect(readFileSync(join(own, copy!), 'utf8')).toBe(alone);
  });
});

test.concurrent('a member of 3.7 on this machine is replaced by its operator, and what he has done is seen', async () => {
  await around('3.7', 'it was started as a new cluster', async (cluster, subject) => {
    const member = cluster.members[2]!;
    await replaced({
      product: subject,
      member: 'm3',
      request: { place: { dataDir: member.dataDir, walDir: undefined } },
      tell(text) {
        const environment = environmentIn(text);
        if ('ETCD_INITIAL_CLUSTER' in environment) void member.restart({ flags: joinFlags(cluster, environment), wait: false });
        else if (existsSync(member.dataDir)) void member.stop().then(() => moveAway(member.dataDir));
      },
    });
    expect(oldData(member)).toHaveLength(1);
  });
});
