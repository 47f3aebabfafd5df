/**
 * A restore of the etcd that kubeadm set up: the manifests are those that kubeadm wrote (test/fixtures/README.md), etcd runs with exactly the flags in them, and what
 * the plan prints is pasted. Only paths, addresses and ports lead to the test's own folder and ports, in manifests and commands alike.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { planRestore } from '../../../src/restore/plan/plan.ts';
import type { RestorePlan } from '../../../src/restore/plan/types.ts';
import { program } from '../../../tools/programs.ts';
import { writeCertificates } from '../../support/certificates.ts';
import { freePorts, run, startProcess, until, type Running } from '../../support/processes.ts';
import { plannedInput, plannedSource } from '../../support/restore-plans.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');
const WARDEN = join(import.meta.dirname, '../../../bin/etcd-warden');
const PODS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;
const ACCESS =
  '--cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key';

/** kubeadm, and the minor of the etcd in its manifest. */
const RELEASES = [
  ['v1.31.14', '3.5'],
  ['v1.37.2', '3.7'],
] as const;

describe.each(RELEASES)('what kubeadm %s set up, with etcd %s', (kubeadm, minor) => {
  let place: string;
  let ports: readonly number[];
  let kubelet: { stop(): Promise<void>; readonly etcd: () => Running | undefined };

  beforeAll(async () => {
    place = temporaryFolder('kubeadm');
    ports = await freePorts(3);
    const pki = join(place, 'kubernetes/pki/etcd');
    for (const folder of [pki, join(place, 'kubernetes/manifests'), join(place, 'bin'), join(place, 'running')])
      mkdirSync(folder, { recursive: true });
    const { authority, write } = writeCertificates(pki);
    // As kubeadm calls them, with the names that it gives them.
    for (const name of ['server', 'peer'])
      write(name, authority.issue({ commonName: 'cp1', names: ['cp1', 'localhost', '127.0.0.2', '127.0.0.1'] }));
    write('healthcheck-client', authority.issue({ commonName: 'kube-etcd-healthcheck-client' }));
    for (const name of ['etcd', 'etcdctl', 'etcdutl'] as const) symlinkSync(program(name, minor), join(place, 'bin', name));
    script('etcd-warden', `exec ${process.execPath} ${WARDEN} "$@"`);
    // The runtime knows a container for as long as its process is there.
    script(
      'crictl',
      `[ "$1 $2 $3" = 'ps -q --name' ] && pod=$(printf %s "$4" | tr -d '^$') && [ ! -e ${place}/running/$pod ] || echo 1a2b`,
    );
    script('kubectl', `[ "$3 $4 $5" = 'get --raw /readyz' ] && [ -e ${place}/running/kube-apiserver ]`);
    script('systemctl', `echo "$@" >> ${place}/systemctl`);
    for (const pod of PODS)
      writeFileSync(
        join(place, 'kubernetes/manifests', `${pod}.yaml`),
        moved(readFileSync(join(FIXTURES, `kubeadm-${kubeadm}`, `${pod}.yaml`), 'utf8')),
      );
    kubelet = startKubelet();
  });
  afterAll(async () => {
    await kubelet.stop();
    removeFolder(place);
  });

  function script(name: string, body: string): void {
    writeFileSync(join(place, 'bin', name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(place, 'bin', name), 0o755);
  }

  /** 10.0.0.1 is another address than 127.0.0.1, on which etcd listens as well. */
  function moved(text: string): string {
    return text
      .replaceAll('/etc/kubernetes', join(place, 'kubernetes'))
      .replaceAll('/var/lib/etcd', join(place, 'etcd'))
      .replaceAll('find /var/lib ', `find ${place} `)
      .replaceAll('10.0.0.1', '127.0.0.2')
      .replaceAll(/\b(2379|2380|2381)\b/gu, (port) => String(ports[Number(port) - 2379]));
  }

  /** Runs what lies in the folder of manifests: etcd really, of the others it is only known that they run. */
  function startKubelet(): typeof kubelet {
    const manifests = join(place, 'kubernetes/manifests');
    let etcd: Running | undefined;
    let busy: Promise<void> | undefined;
    const turn = async (): Promise<void> => {
      for (const pod of PODS) {
        const path = join(manifests, `${pod}.yaml`);
        const mark = join(place, 'running', pod);
        if (existsSync(path) === existsSync(mark)) continue;
        if (!existsSync(mark)) {
          if (pod === 'etcd') {
            const { spec } = parse(readFileSync(path, 'utf8')) as { spec: { containers: [{ command: [string, ...string[]] }] } };
            const [command, ...flags] = spec.containers[0].command;
            etcd = startProcess(join(place, 'bin', command), flags);
          }
          writeFileSync(mark, '');
        } else {
          if (pod === 'etcd') await etcd?.stop();
          rmSync(mark);
        }
      }
    };
    const timer = setInterval(() => {
      busy ??= turn().finally(() => (busy = undefined));
    }, 50);
    return {
      etcd: () => etcd,
      async stop() {
        clearInterval(timer);
        await busy;
        await etcd?.stop();
      },
    };
  }

  function paste(...lines: readonly string[]): Promise<string> {
    return run('bash', ['-e', '-o', 'pipefail', '-c', lines.map(moved).join('\n')], {
      env: { PATH: `${place}/bin:${process.env['PATH']}`, HOME: place },
      timeoutMs: 90_000,
    });
  }

  const etcdctl = (words: string): Promise<string> => paste(`ETCDCTL_API=3 etcdctl --endpoints https://10.0.0.1:2379 ${ACCESS} ${words}`);

  test('is backed up, stopped, restored, started and checked by what the plan prints', async () => {
    let refusal = '';
    await until(
      () =>
        etcdctl('put /registry/namespaces/default before').then(
          () => true,
          (error: Error) => ((refusal = error.message), false),
        ),
      () => `etcd does not serve: ${refusal}\n${kubelet.etcd()?.output().slice(-3_000)}`,
      { everyMs: 100 },
    );
    await paste(`etcd-warden backup --endpoints https://10.0.0.1:2379 ${ACCESS} --to ${place}/store`);
    await etcdctl('put /registry/namespaces/default after');
    const id = readdirSync(join(place, 'store/default'))
      .find((name) => name.endsWith('.db.zst'))!
      .replace('.db.zst', '');
    const plan = planRestore(
      plannedInput(
        {
          platform: 'kubeadm',
          minor,
          source: plannedSource({ name: id, cluster: 'default', kubernetes: true, stores: [] }),
          sourceFlags: ['--from', join(place, 'store')],
          targets: [{ member: 'cp1', dataDir: '/var/lib/etcd', walDir: undefined, here: true, occupied: true, clientUrls: undefined }],
        },
        'cp1=https://10.0.0.1:2380',
      ),
    );
    const step = (name: string): readonly string[] => plan.steps.filter((each) => each.name === name).flatMap(({ commands }) => commands);
    const parked = join(place, 'kubernetes/manifests.before-restore');

    await paste(...step('stop-clients'), ...step('stop-etcd'));
    expect(readdirSync(parked).toSorted()).toEqual(PODS.map((pod) => `${pod}.yaml`));
    expect(kubelet.etcd()?.result()).toBeDefined();
    await paste(...step('restore'));
    expectLines(await paste(...step('configure')), plan);
    await paste(...step('start-etcd'));
    expect(await paste(...step('check')).catch(withLog)).toMatch(/restored/u);
    await paste(...step('start-clients'), ...step('restart-caches').slice(0, 1));
    expect(PODS.filter((pod) => existsSync(join(place, 'kubernetes/manifests', `${pod}.yaml`)))).toEqual(PODS);
    expect(readFileSync(join(place, 'systemctl'), 'utf8')).toBe('restart kubelet\n');

    expect((await etcdctl('get /registry/namespaces/default --print-value-only')).trim()).toBe('before');
    const { header } = JSON.parse(await etcdctl('get / -w json')) as { header: { revision: number } };
    expect(header.revision).toBeGreaterThan(1_000_000_000);
    // The directory of before and the record; the folder of parked manifests is empty, or rmdir fails.
    expect(await paste(...step('clean-up'))).toMatch(/etcd\.before-restore-/u);
    expect(existsSync(parked)).toBe(false);
  });

  function withLog(error: Error): never {
    throw new Error(`${error.message}\n${kubelet.etcd()?.output().slice(-3_000)}`);
  }

  /** What the command shows of the manifest are the lines that the plan asks for, but for those that matter to an empty directory alone. */
  function expectLines(shown: string, { members: [cp1] }: RestorePlan): void {
    const there = shown.split('\n').flatMap((line) => /- (--\S+)$/u.exec(line)?.[1] ?? []);
    const wanted = cp1!.flags.map(moved);
    expect(there.filter((flag) => !wanted.includes(flag))).toEqual([]);
    const missing = wanted.filter((flag) => !there.includes(flag)).map((flag) => flag.replace(/=.*/u, ''));
    expect(missing.filter((flag) => flag.startsWith('--initial-') || flag === '--name' || flag === '--data-dir')).toEqual([
      '--initial-cluster-token',
      '--initial-cluster-state',
    ]);
    expect(shown).toMatch(new RegExp(`path: ${join(place, 'etcd')}$`, 'mu'));
  }
});
