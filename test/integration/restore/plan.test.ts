/** A plan is what people paste at three in the morning: here its commands are run as they are printed, by a shell, with real etcd. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { planRestore } from '../../../src/restore/plan/plan.ts';
import type { PlanStep, RestorePlan } from '../../../src/restore/plan/types.ts';
import { program } from '../../../tools/programs.ts';
import { startCluster } from '../../support/cluster.ts';
import { freePorts, run, startProcess, type Running } from '../../support/processes.ts';
import { plannedInput, plannedSource } from '../../support/restore-plans.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const MINOR = '3.6';
const WARDEN = join(import.meta.dirname, '../../../bin/etcd-warden');

let folder: string;
let store: string;
let bin: string;
let id: string;
let objects: string[];
let source: ReturnType<typeof plannedSource>;

beforeAll(async () => {
  folder = temporaryFolder('plan');
  store = join(folder, 'store');
  bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const command of ['etcd', 'etcdctl', 'etcdutl'] as const) symlinkSync(program(command, MINOR), join(bin, command));
  script('etcd-warden', `exec ${process.execPath} ${WARDEN} "$@"`);
  // Another machine is a shell that does not see the variables of this one.
  script('ssh', 'shift; exec env -i PATH="$PATH" sh -c "$*"');
  await using cluster = await startCluster({ minor: MINOR });
  await cluster.fill({ keys: 60, valueBytes: 300 });
  await paste(`etcd-warden backup --endpoints ${cluster.endpoints[0]} --to ${store}`);
  const names = readdirSync(join(store, 'default'));
  objects = names.filter((name) => /\.(db\.zst|json)$/u.test(name)).map((name) => `default/${name}`);
  id = names.find((name) => name.endsWith('.db.zst'))?.replace('.db.zst', '') ?? '';
  source = plannedSource({
    name: id,
    cluster: 'default',
    stores: [{ name: 'disk', address: store, local: true, objects }],
  });
});
afterAll(() => removeFolder(folder));

let place = '';
let carried = '';
let running: Running[] = [];
beforeEach(() => {
  place = temporaryFolder('planned');
  carried = join(place, 'carried');
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((each) => each.stop()));
  removeFolder(place);
});

function script(name: string, body: string): void {
  writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(bin, name), 0o755);
}

/** What is pasted reads and writes below the test's own folders. */
function moved(line: string): string {
  return line.replaceAll('/var/tmp/etcd-warden-restore', carried).replaceAll('/etc/kubernetes', join(place, 'kubernetes'));
}

function environment(): NodeJS.ProcessEnv {
  return { PATH: `${bin}:${process.env['PATH']}`, HOME: folder };
}

function paste(...lines: readonly string[]): Promise<string> {
  return run('bash', ['-e', '-o', 'pipefail', '-c', lines.map(moved).join('\n')], { env: environment(), timeoutMs: 90_000 });
}

function launch(line: string, settings: NodeJS.ProcessEnv = {}): void {
  const env = { ...environment(), ...settings };
  running.push(startProcess('bash', ['-c', `exec ${line} --log-level=warn --unsafe-no-fsync`], { env, cwd: place }));
}

function commandsOf({ steps }: Pick<RestorePlan, 'steps'>, name: string): readonly string[] {
  return steps.filter((each) => each.name === name).flatMap(({ commands }) => commands);
}

describe('the commands of a plan', () => {
  test('make one cluster on three machines, one of which has no etcd-warden', async () => {
    const ports = await freePorts(6);
    const members = ['m1', 'm2', 'm3'].map((name, index) => ({
      name,
      peer: `http://127.0.0.1:${ports[index]}`,
      client: `http://127.0.0.1:${ports[index + 3]}`,
      dataDir: join(place, `it's ${name}`),
    }));
    const plan = planRestore(
      plannedInput(
        {
          platform: 'plain',
          source,
          targets: members.map(({ name, client, dataDir }) => ({
            member: name,
            dataDir,
            walDir: undefined,
            here: name === 'm1',
            occupied: undefined,
            clientUrls: [client],
          })),
          sourceFlags: ['--from', store],
        },
        members.map(({ name, peer }) => `${name}=${peer}`).join(','),
      ),
    );
    // All have old data, which are kept.
    for (const { dataDir } of members) {
      mkdirSync(join(dataDir, 'member'), { recursive: true });
      writeFileSync(join(dataDir, 'member', 'old'), 'old');
    }
    const [m1, m2, m3] = plan.members;
    await paste(...commandsOf(plan, 'fetch').slice(0, 1));
    await Promise.all([paste(m1!.restore), paste(m2!.restore)]);
    if (!m3!.etcdutl.possible) throw new Error(m3!.etcdutl.reason);
    await paste(...m3!.etcdutl.commands);
    for (const { name } of members) {
      const kept = readdirSync(place).find((entry) => entry.startsWith(`it's ${name}.before-restore-`));
      expect(readFileSync(join(place, kept ?? 'nothing', 'member', 'old'), 'utf8')).toBe('old');
    }
    // One of them as a unit does that takes everything from its environment.
    for (const { name, environment: settings } of plan.members) {
      if (name === 'm2') launch('etcd', settings);
      else launch(plan.steps.find((step) => step.name === 'start-etcd' && step.member === name)!.commands[0]!);
    }
    expect(await paste(...commandsOf(plan, 'check'))).toMatch(/restored/u);
    const listed = JSON.parse(await paste(`etcdctl --endpoints ${members[1]!.client} member list -w json --hex`)) as {
      header: { cluster_id: string };
      members: { ID: string; name: string }[];
    };
    expect(listed.members.map(({ ID, name }) => `${name} ${ID}`).toSorted()).toEqual(plan.members.map((each) => `${each.name} ${each.id}`));
    expect(listed.header.cluster_id).toBe(plan.clusterId);
    await paste(...commandsOf(plan, 'clean-up'));
    expect(existsSync(carried)).toBe(false);
  });

  test('can be taken from its text, and a member whose directory is missing gets its data from the others', async () => {
    const ports = await freePorts(6);
    const hosts = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];
    const initial = hosts.map((host, index) => `m${index + 1}=http://${host}:${ports[index]}`).join(',');
    const clients = hosts.map((host, index) => `http://${host}:${ports[index + 3]}`).join(',');
    const asked = `etcd-warden restore latest --from ${store} --plan --platform plain --initial-cluster ${initial} --endpoints ${clients} --data-dir '${place}/{member}'`;
    const [text, json] = await Promise.all([paste(asked), paste(`${asked} --json`)]);
    const plan = JSON.parse(json) as RestorePlan;
    const lines = text.split('\n').filter((line) => line.startsWith('    '));
    const line = (start: string): string[] => lines.map((each) => each.trim()).filter((each) => each.startsWith(start));
    expect(line('etcd-warden restore ')).toEqual([...commandsOf(plan, 'restore'), ...commandsOf(plan, 'check')]);
    expect(commandsOf(plan, 'restore')).toHaveLength(1);

    await paste(line('etcd-warden restore ')[0]!);
    renameSync(join(place, 'm3'), join(place, 'elsewhere'));
    const [first, second, missing] = line('etcd --name');
    for (const each of [first!, second!]) launch(each);
    // Without anybody to ask it would end at once, and a service manager would start it again.
    await paste(`until etcdctl --endpoints ${clients.split(',')[0]} get x > ${place}/said 2>&1; do sleep 0.2; done`);
    launch(missing!);
    expect(await paste(...line('etcd-warden restore --check'))).toMatch(/restored/u);
  });

  test('park static pods until their containers are gone, and bring back the same files', async () => {
    const plan = planRestore(plannedInput({ platform: 'kubeadm', source: plannedSource({ kubernetes: true }) }));
    const manifests = join(place, 'kubernetes/manifests');
    mkdirSync(manifests, { recursive: true });
    const pods = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];
    for (const pod of pods)
      writeFileSync(join(manifests, `${pod}.yaml`), `# ${pod}\n    - --data-dir=/var/lib/etcd\n      path: /var/lib/etcd\n`);
    // The kubelet needs a moment: each pod is still there when it is asked for the first time.
    script(
      'crictl',
      `pod=$(printf %s "$4" | tr -d '^$'); if [ -e ${place}/seen-$pod ]; then exit 0; fi; touch ${place}/seen-$pod; echo 1a2b`,
    );
    script('kubectl', '[ "$3 $4" = "get --raw" ]');
    await paste(...commandsOf(plan, 'stop-clients'), ...commandsOf(plan, 'stop-etcd'));
    expect(readdirSync(manifests)).toEqual([]);
    expect(pods.filter((pod) => existsSync(join(place, `seen-${pod}`)))).toEqual(pods);
    expect(await paste(commandsOf(plan, 'configure')[0]!)).toMatch(/--data-dir=\/var\/lib\/etcd\n.*path: /u);
    await paste(...commandsOf(plan, 'start-etcd'));
    expect(readdirSync(manifests)).toEqual(['etcd.yaml']);
    await paste(...commandsOf(plan, 'start-clients'));
    expect(readdirSync(manifests)).toEqual(pods.map((pod) => `${pod}.yaml`));
  });
});

test('what is pasted wrongly is noticed: a step that fails says so', async () => {
  const steps: PlanStep[] = planRestore(plannedInput({ platform: 'kubeadm' })).steps.filter(({ name }) => name === 'stop-etcd');
  await expect(paste(...commandsOf({ steps }, 'stop-etcd'))).rejects.toThrow('etcd.yaml');
});
