/**
 * Members are known by the very bytes of their peer URLs. Here each form that etcd takes is restored by three invocations that know nothing of each other, pasted as
 * a plan prints them, and real etcd has to make one cluster of it: IPv6, names, several URLs of one member, and all of them mixed.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseInitialCluster } from '../../../src/restore/identity.ts';
import { planRestore } from '../../../src/restore/plan/plan.ts';
import type { RestorePlan } from '../../../src/restore/plan/types.ts';
import { program, type EtcdMinor } from '../../../tools/programs.ts';
import { startCluster } from '../../support/cluster.ts';
import { freePorts, run, startProcess, type Running } from '../../support/processes.ts';
import { plannedInput, plannedSource } from '../../support/restore-plans.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const WARDEN = join(import.meta.dirname, '../../../bin/etcd-warden');
const MINORS = ['3.4', '3.7'] as const;

/** Not every container has it. */
const HAS_IPV6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
/** Programs see an /etc/hosts of their own in a mount namespace of their own, which needs no change of the machine, but a right that containers may lack. */
const NAMESPACE = ['unshare', ...(process.geteuid?.() === 0 ? [] : ['--user', '--map-root-user']), '--mount'] as const;
const HAS_NAMES = mayBind();

function mayBind(): boolean {
  try {
    execFileSync(NAMESPACE[0], [...NAMESPACE.slice(1), 'mount', '--bind', '/etc/hosts', '/etc/hosts'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const LOOPBACK = HAS_IPV6 ? '[::1]' : '127.0.0.1';
/** A second address of the machine, so that the names lead to different ones. */
const SECOND = HAS_IPV6 ? '::1' : '127.0.0.2';
const HOSTS = `127.0.0.1 localhost m-1.etcd.example.test\n${SECOND} m-2.etcd.example.test\n127.0.0.3 m-3.etcd.example.test\n`;

/** Peer URLs of m1, m2 and m3; `:` at the end of each is followed by its port. Scheme and host as people may write them. */
const FORMS: readonly { readonly title: string; readonly urls: readonly (readonly string[])[]; readonly own: boolean }[] = [
  HAS_IPV6
    ? { title: 'IPv6 addresses', urls: [['http://[::1]:'], ['http://[0:0:0:0:0:0:0:1]:'], ['http://[::0001]:']], own: false }
    : {
        title: 'IPv4 addresses (this machine has no IPv6)',
        urls: [['http://127.0.0.1:'], ['http://127.0.0.2:'], ['http://127.0.0.3:']],
        own: false,
      },
  {
    title: `a name, an upper-case scheme, and two URLs of one member, ${HAS_IPV6 ? 'of IPv6 and IPv4' : 'of IPv4: this machine has no IPv6'}`,
    urls: [['http://localhost:'], ['HTTP://127.0.0.1:'], [`http://${LOOPBACK}:`, 'http://127.0.0.1:']],
    own: false,
  },
  HAS_NAMES
    ? {
        title: 'names in whatever case, which lead to different addresses',
        urls: [['http://m-1.etcd.example.test:'], ['http://M-2.etcd.Example.test:'], ['http://m-3.etcd.example.test:']],
        own: true,
      }
    : {
        title: 'the name localhost alone: this machine lets nobody bind an /etc/hosts of his own',
        urls: [['http://localhost:'], ['http://localhost:'], ['http://localhost:']],
        own: false,
      },
];

let folder: string;
let bin: string;
let place: string;
let running: Running[];
beforeAll(() => {
  folder = temporaryFolder('addresses');
  writeFileSync(join(folder, 'hosts'), HOSTS);
});
afterAll(() => removeFolder(folder));
beforeEach(() => {
  place = temporaryFolder('addressed');
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((each) => each.stop()));
  removeFolder(place);
});

/** What runs one line of a shell, where names are those of this test when `own` is set. */
function shell(line: string, own: boolean): [string, ...string[]] {
  const script = ['bash', '-e', '-o', 'pipefail', '-c'];
  return own
    ? [...NAMESPACE, ...script, `mount --bind ${join(folder, 'hosts')} /etc/hosts; ${line}`]
    : (['bash', ...script.slice(1), line] as [string, ...string[]]);
}

const environment = (): NodeJS.ProcessEnv => ({ PATH: `${bin}:${process.env['PATH']}`, HOME: folder });

function paste(line: string, own = false): Promise<string> {
  const [command, ...words] = shell(line, own);
  return run(command, words, { env: environment(), timeoutMs: 90_000 });
}

function commandsOf({ steps }: RestorePlan, name: string): readonly string[] {
  return steps.filter((each) => each.name === name).flatMap(({ commands }) => commands);
}

describe.each(MINORS)('on etcd %s three invocations that know nothing of each other make one cluster of', (minor: EtcdMinor) => {
  let source: ReturnType<typeof plannedSource>;
  let store: string;
  beforeAll(async () => {
    bin = join(folder, `bin-${minor}`);
    store = join(folder, `store-${minor}`);
    mkdirSync(bin);
    for (const name of ['etcd', 'etcdctl', ...(minor === '3.4' ? [] : (['etcdutl'] as const))] as const)
      symlinkSync(program(name, minor), join(bin, name));
    writeFileSync(join(bin, 'etcd-warden'), `#!/bin/sh\nexec ${process.execPath} ${WARDEN} "$@"\n`);
    chmodSync(join(bin, 'etcd-warden'), 0o755);
    await using cluster = await startCluster({ minor });
    await cluster.fill({ keys: 60, valueBytes: 300 });
    await paste(`etcd-warden backup --endpoints ${cluster.endpoints[0]} --to ${store}`);
    const id = readdirSync(join(store, 'default')).find((name) => name.endsWith('.db.zst')) ?? '';
    source = plannedSource({
      name: id.replace('.db.zst', ''),
      cluster: 'default',
      stores: [{ name: 'disk', address: store, local: true, objects: [] }],
    });
  });

  test.each(FORMS)('$title', async ({ urls, own }) => {
    const ports = await freePorts(urls.flat().length + urls.length);
    const peers = urls.flatMap((each, index) => each.map((url) => `m${index + 1}=${url}${ports.pop()}`));
    const clients = urls.map(([url]) => `${url?.toLowerCase()}${ports.pop()}`);
    const plan = planRestore(
      plannedInput(
        {
          platform: 'plain',
          minor,
          source,
          sourceFlags: ['--from', store],
          targets: clients.map((client, index) => ({
            member: `m${index + 1}`,
            dataDir: join(place, `m${index + 1}`),
            walDir: undefined,
            here: true,
            occupied: false,
            clientUrls: [client],
          })),
        },
        peers.join(','),
      ),
    );
    // One of them with etcd's own tool, which has to come to the same ids from the same words.
    const [first, second, third] = plan.members;
    const quiet = '--endpoints http://127.0.0.1:1';
    await Promise.all([
      paste(`${first!.restore} --builder native ${quiet}`, own),
      paste(`${second!.restore} --builder etcdutl ${quiet}`, own),
      paste(`${third!.restore} --builder native ${quiet}`, own),
    ]);
    for (const line of commandsOf(plan, 'start-etcd')) {
      const [command, ...words] = shell(`exec ${line} --log-level=warn ${minor === '3.4' ? '' : '--unsafe-no-fsync'}`, own);
      running.push(startProcess(command, words, { env: environment(), cwd: place }));
    }
    const said = await paste(commandsOf(plan, 'check')[0]!, own).catch((error: Error) => {
      throw new Error(`${error.message}\n${running.map((each) => each.output().slice(-1_500)).join('\n')}`);
    });
    expect(said).toMatch(/restored/u);
    const listed = JSON.parse(await paste(`ETCDCTL_API=3 etcdctl --endpoints ${clients.join(',')} member list -w json`, own)) as {
      readonly members: readonly { readonly name: string; readonly peerURLs: readonly string[] }[];
    };
    const expected = [...parseInitialCluster(peers.join(','))].map(([name, list]) => `${name} ${list.join(',')}`);
    expect(listed.members.map(({ name, peerURLs }) => `${name} ${peerURLs.join(',')}`).toSorted()).toEqual(expected);
    const record = JSON.parse(readFileSync(`${join(place, 'm2')}.restore.json`, 'utf8')) as { readonly builder: unknown };
    expect(JSON.stringify(record.builder)).toContain('etcdutl');
  });
});
