/**
 * `npm run demo`: a real cluster of three members, steady writes, and the daemon beside it; what happens is told in plain words as the
 * daemon's own log reports it. Ends by itself and leaves nothing behind; `--keep` leaves it running, `--s3` adds a second store.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startCluster, type Cluster } from '../../test/support/cluster.ts';
import type { Writer } from '../../test/support/load.ts';
import { startGateway, type Gateway } from '../../test/support/gateway.ts';
import { freePorts, until } from '../../test/support/processes.ts';
import { initialClusterOf, newSites, startRestored } from '../../test/support/restored.ts';
import { encode } from '../../test/support/wire.ts';
import { anyEtcd, ETCD_MINORS, type EtcdMinor } from '../programs.ts';
import { runCommand, startDaemon, type DaemonProcess, type LogLine } from './daemon.ts';
import { say, title } from './say.ts';

const USAGE = 'usage: npm run demo [-- --s3] [-- --keep]';
const KEYS = 4000;
const SETTINGS = '/shop/settings';
/** Seconds first: an expression of six fields, which a demo and a test may use. */
const SCHEDULE = '*/4 * * * * *';
/** Between the backups, which it must not overlap. */
const MAINTENANCE = '2-59/4 * * * * *';
/** Small, so that it is reached in a moment. */
const QUOTA_BYTES = 32 * 1024 * 1024;
/** From set-up to the end; the promise is 60 s. */
const LIMIT_MS = 55_000;

interface Options {
  readonly s3: boolean;
  readonly keep: boolean;
}

async function main(words: readonly string[]): Promise<void> {
  const unknown = words.filter((word) => word !== '--s3' && word !== '--keep');
  if (unknown.length > 0) throw new Error(`${unknown.join(' ')} is not known. ${USAGE}`);
  const options: Options = { s3: words.includes('--s3'), keep: words.includes('--keep') };
  const folder = mkdtempSync(join(tmpdir(), 'etcd-warden-demo-'));
  const stop = new AbortController();
  const interrupt = (): void => stop.abort(new Error('stopped by Ctrl-C'));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const releasers: (() => Promise<void>)[] = [async () => rmSync(folder, { recursive: true, force: true })];
  try {
    const signal = options.keep ? stop.signal : AbortSignal.any([stop.signal, AbortSignal.timeout(LIMIT_MS)]);
    await perform(options, folder, signal, releasers);
  } finally {
    for (const release of releasers.reverse()) await release();
  }
}

async function perform(options: Options, folder: string, signal: AbortSignal, releasers: (() => Promise<void>)[]): Promise<void> {
  title('A cluster to look after');
  const { cluster, gateway } = await prepare(options, releasers);
  const writer = cluster.writer({ perSecond: 200 });
  releasers.push(() => writer.stop().then(() => undefined));
  const config = await writeConfig(folder, cluster, gateway);

  title('The daemon starts: a backup every 4 seconds, the newest two are kept');
  say(`configuration: ${config.path}`);
  const daemon = startDaemon(config.path, signal);
  releasers.push(() => daemon.stop());
  narrate(daemon);
  const first = await daemon.next('backup published');
  say(`the manifest was written last: until then, nothing of ${word(first, 'id')} was visible`);

  await outOfSpace(cluster, writer, daemon, config, signal);

  title('A member is killed; the next backup must not notice');
  const victim = await cluster.leader();
  say(`kill -9 of ${victim.name}, which leads`);
  await victim.kill('SIGKILL');
  await daemon.next('backup published');
  say('the cluster has lost its leader and still got its backup');

  await show(['list'], config, signal);
  await show(['verify', '--latest'], config, signal);
  await lookInside(cluster, daemon, config, signal);

  if (options.keep) {
    await leaveRunning(cluster, gateway, config, signal);
    return;
  }
  const { written } = await writer.stop();
  await daemon.stop();
  await everythingLost({ cluster, config, folder, signal, releasers });

  title('Done');
  say(`${written} writes went on until the disks were lost; cleaning up`);
}

/** Somebody writes too much; the daemon notices and cures it, while the other writers try again and again. */
async function outOfSpace(cluster: Cluster, writer: Writer, daemon: DaemonProcess, config: DemoConfig, signal: AbortSignal): Promise<void> {
  title('A controller gone wild writes the same ten objects again and again, until etcd accepts no more writes');
  const cured = daemon.next('NOSPACE disarmed');
  const writes = await writeUntilRefused(cluster);
  say(
    `NOSPACE is armed after ${writes} writes: the database has reached its quota of ${QUOTA_BYTES / 1024 / 1024} MiB, every write is refused`,
  );
  const refusedSince = performance.now();
  await cured;
  const { written } = writer.counters();
  await until(() => writer.counters().written > written, 'nobody writes again');
  say(`writes are accepted again, after ${((performance.now() - refusedSince) / 1000).toFixed(1)} s without anybody at the keyboard`);
  await show(['status'], config, signal);
}

/** @returns how many writes it took */
async function writeUntilRefused(cluster: Cluster): Promise<number> {
  const value = Buffer.alloc(100_000, 'x');
  for (let write = 1; ; write++) {
    const refused = await cluster.members[write % 3]!.rpc.call('etcdserverpb.KV/Put', encode([1, `/wild/${write % 10}`], [2, value])).then(
      () => undefined,
      (error: Error) => error,
    );
    if (refused?.message.includes('database space exceeded') === true) return write;
    if (refused !== undefined) throw refused;
  }
}

/** A key is lost and found again: no restore, and no download of a whole backup. */
async function lookInside(cluster: Cluster, daemon: DaemonProcess, config: DemoConfig, signal: AbortSignal): Promise<void> {
  title('Somebody deletes the wrong key; what a backup holds comes back without a restore');
  await cluster.etcdctl(['put', SETTINGS, '{"replicas":3,"image":"shop:1.4"}']);
  const id = await backupSince(Date.now(), daemon);
  await daemon.next('key index built');
  await cluster.etcdctl(['del', SETTINGS]);
  say(`etcdctl del ${SETTINGS}`);
  await show(['get', id, SETTINGS], config, signal);
  await show(['get', id, SETTINGS, '--put', '--yes'], config, signal);
  await show(['diff', id, 'live', '/shop/'], config, signal);
}

interface Loss {
  readonly cluster: Cluster;
  readonly config: DemoConfig;
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly releasers: (() => Promise<void>)[];
}

/** All members are gone with their disks: what is left is the backup. */
async function everythingLost({ cluster, config, folder, signal, releasers }: Loss): Promise<void> {
  title('All three members are lost, and their disks; the cluster comes back from a backup');
  await cluster.stop();
  say('kill -9 of every member, and their data directories are deleted');
  const data = join(folder, 'restored');
  const sites = await newSites(3, data);
  const words = [
    ...'restore --latest --member all --data-dir'.split(' '),
    join(data, '{member}'),
    '--initial-cluster',
    initialClusterOf(sites),
  ];
  title(`etcd-warden ${words.join(' ')}`);
  // What each member needs next, with its flags, would fill the screen; here it is done.
  const [built] = (await runCommand([...words, '--config', config.path], signal)).split('\n\n');
  process.stdout.write(`${built}\n`);
  const etcd = anyEtcd();
  const record = join(data, `${sites[0]!.name}.restore.json`);
  const { token } = JSON.parse(readFileSync(record, 'utf8')) as { readonly token: string };
  const restored = await startRestored({ minor: minorOf(etcd.version), program: etcd.etcd, sites, token });
  releasers.push(() => restored.stop());
  say('three members of etcd are started on what was built; before clients are let in, every one is asked for what it holds');
  await show(['restore', '--check', sites.map(({ client }) => client).join(','), '--record', record], config, signal);
}

/** @param since the backup that is under way then may lack what was written just before; ids begin with the time of their start */
async function backupSince(since: number, daemon: DaemonProcess): Promise<string> {
  const least = new Date(since).toISOString().replaceAll(/[-:.]/g, '');
  for (;;) {
    const id = word(await daemon.next('backup published'), 'id');
    if (id > least) return id;
  }
}

/** Runs a verb as a person would, and shows what it says. */
async function show(words: readonly string[], config: DemoConfig, signal: AbortSignal): Promise<void> {
  title(`etcd-warden ${words.join(' ')}`);
  process.stdout.write(`${await runCommand([...words, '--config', config.path], signal)}\n`);
}

async function prepare(options: Options, releasers: (() => Promise<void>)[]): Promise<{ cluster: Cluster; gateway: Gateway | undefined }> {
  const etcd = anyEtcd();
  const cluster = await startCluster({ minor: minorOf(etcd.version), members: 3, programs: etcd, quotaBackendBytes: QUOTA_BYTES });
  releasers.push(() => cluster.stop());
  say(`three members of etcd ${etcd.version} on loopback: ${cluster.endpoints.join(' ')}`);
  await cluster.fill({ keys: KEYS, valueBytes: 2000, seed: 1, compressible: true });
  say(`${KEYS} keys written, and about 200 more writes a second from now on`);
  if (!options.s3) return { cluster, gateway: undefined };
  const gateway = await startGateway();
  releasers.push(() => gateway.stop());
  await gateway.createBucket('backups');
  say(`an S3 server: ${gateway.endpoint}, bucket backups`);
  return { cluster, gateway };
}

function minorOf(version: string): EtcdMinor {
  return ETCD_MINORS.find((minor) => version.startsWith(`${minor}.`)) ?? '3.6';
}

interface DemoConfig {
  readonly path: string;
  readonly http: string;
}

async function writeConfig(folder: string, cluster: Cluster, gateway: Gateway | undefined): Promise<DemoConfig> {
  const [port] = await freePorts(1);
  const http = `127.0.0.1:${port}`;
  const secret = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  mkdirSync(join(folder, 'backups'), { mode: 0o700 });
  const config = {
    clusters: {
      demo: {
        endpoints: cluster.endpoints,
        backup: { schedule: SCHEDULE, retryDelay: '500ms' },
        retention: { keepLast: 2 },
        // Where it would take its time, as is right for clusters that are not made to be broken.
        maintenance: { schedule: MAINTENANCE, settle: '500ms', minGain: '1MiB', restartQuiet: '1s', emergencyKeepRevisions: 50 },
      },
    },
    stores: {
      disk: { type: 'local', path: join(folder, 'backups') },
      ...(gateway === undefined
        ? {}
        : {
            s3: {
              type: 's3',
              bucket: 'backups',
              prefix: 'etcd',
              endpoint: gateway.endpoint,
              region: gateway.region,
              pathStyle: true,
              accessKeyIdFile: secret('s3-access-key', gateway.accessKey),
              secretAccessKeyFile: secret('s3-secret-key', gateway.secretKey),
            },
          }),
    },
    stateDir: join(folder, 'state'),
    http: { listen: http },
  };
  const path = join(folder, 'config.yaml');
  writeFileSync(path, stringify(config), { mode: 0o600 });
  return { path, http };
}

/** The daemon's log, in plain words. What is not worth a word is left out. */
function narrate(daemon: DaemonProcess): void {
  const warned = new Set<string>();
  daemon.onLine((line: LogLine) => {
    const text = inWords(line);
    // The member that is down is met again and again.
    const again = line.level !== 'info' && text !== undefined && (warned.has(text) || !warned.add(text));
    if (text !== undefined && !again) say(text);
  });
}

function inWords(line: LogLine): string | undefined {
  switch (line.message) {
    case 'member chosen':
      return `${word(line, 'role')} found: ${word(line, 'member')} at revision ${word(line, 'revision')}`;
    case 'snapshot checked':
      return `snapshot taken and checked: length and SHA-256 are right, revision ${word(line, 'revision')} read from the file (${kilobytes(line['bytes'])} in ${word(line, 'streamMs')} ms)`;
    case 'backup published':
      return `published: ${word(line, 'id')}, ${kilobytes(line['storedBytes'])} stored, on every store it was meant for: ${line['outcome'] === 'complete' ? 'yes' : 'no'}, ${provenance(line['provedBy'])}`;
    case 'backup removed':
      return `pruned from ${word(line, 'store')}: ${word(line, 'id')} (${(line['reasons'] as readonly string[]).join('; ')})`;
    case 'the slot was not recorded in etcd':
      return 'the backup goes on, though etcd lets nobody write down that this slot is served';
    case 'going on without the lock of the cluster':
      return 'etcd grants no lock now either; the daemon that was elected goes on, since nobody else holds it';
    case 'compacted':
      return `compacted: the history before revision ${word(line, 'revision')} is gone`;
    case 'defragmenting a member':
      return `${word(line, 'member')} is defragmented, which should freeze it for about ${word(line, 'predictedMs')} ms`;
    case 'a member was defragmented':
      return `${word(line, 'member')} answers again after ${word(line, 'tookMs')} ms: ${kilobytes(line['before'])} before, ${kilobytes(line['after'])} now`;
    case 'leadership moved':
      return `${word(line, 'from')} led until now; ${word(line, 'to')} leads from here on, so that nobody waits for a frozen leader`;
    case 'NOSPACE disarmed':
      return 'every member is well below its quota: NOSPACE is disarmed, and a key of our own was put to prove it';
    case 'maintenance is refused':
      return `nothing is defragmented: ${(line['refusals'] as readonly { message: string }[]).map(({ message }) => message).join('; ')}`;
    // At this pace a slot now and then finds the backup before it still at work; the daemon counts that, the story need not.
    case 'the slot is skipped: the backup before it is not finished':
      return undefined;
    default:
      return line.level === 'warn' || line.level === 'error' ? `the daemon says: ${line.message}` : undefined;
  }
}

function provenance(members: unknown): string {
  return Array.isArray(members) ? `proved: HashKV of the file and of ${members.join(', ')} are the same` : 'not proved';
}

function word(line: LogLine, field: string): string {
  const value = line[field];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : JSON.stringify(value);
}

function kilobytes(value: unknown): string {
  return `${Math.round(Number(value) / 1024)} KiB`;
}

async function leaveRunning(cluster: Cluster, gateway: Gateway | undefined, config: DemoConfig, signal: AbortSignal): Promise<void> {
  title('Left running; Ctrl-C ends it');
  say(
    `etcd:     ETCDCTL_ENDPOINTS=${cluster.members
      .filter((member) => member.running())
      .map((member) => member.endpoint)
      .join(',')}`,
  );
  if (gateway !== undefined) say(`S3:       ${gateway.endpoint}, bucket backups`);
  say(`metrics:  http://${config.http}/metrics`);
  say(`ready:    http://${config.http}/readyz`);
  say(`try:      bin/etcd-warden status --config ${config.path}`);
  await new Promise<void>((resolve) => {
    const alive = setInterval(() => {}, 60_000); // a promise alone does not keep the process
    signal.addEventListener('abort', () => {
      clearInterval(alive);
      resolve();
    });
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
