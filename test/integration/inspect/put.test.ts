/** Keys of a backup go back into real clusters, while others write and things fail. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { observeCluster } from '../../../src/etcd/cluster.ts';
import { KeysClient, keyText } from '../../../src/etcd/keys.ts';
import { clusterBar } from '../../../src/inspect/put/gate.ts';
import { executePut, type Executed } from '../../../src/inspect/put/execute.ts';
import { planPut } from '../../../src/inspect/put/plan.ts';
import type { PutPlan } from '../../../src/inspect/put/types.ts';
import type { KeyDirectory } from '../../../src/inspect/types.ts';
import type { EtcdMinor } from '../../../tools/programs.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { memoryDirectory } from '../../support/memory-keys.ts';
import { until } from '../../support/processes.ts';
import { product } from '../../support/product.ts';
import { recordedOutput } from '../../support/recorded-output.ts';
import { startWarden } from '../../support/run-warden.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const signal = new AbortController().signal;

function backupOf(prefix: string, keys: number, value = 'from the backup', lease = 0n): KeyDirectory {
  return memoryDirectory(
    Array.from({ length: keys }, (_, at) => ({
      key: `${prefix}${String(at).padStart(5, '0')}`,
      main: at + 2,
      value: `${value} ${at}`,
      lease,
    })),
  );
}

function plan(client: KeysClient, directory: KeyDirectory, withLease = false): Promise<PutPlan> {
  return planPut({ directory, live: client, range: {}, at: 1000n, withLease, preview: () => '', signal });
}

async function put(client: KeysClient, directory: KeyDirectory): Promise<Executed> {
  const { changes } = await plan(client, directory);
  return executePut({ changes, directory, live: client, signal });
}

function counts({ puts }: Executed): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const { outcome } of puts) counted[outcome] = (counted[outcome] ?? 0) + 1;
  return counted;
}

async function get(cluster: Cluster, key: string): Promise<string> {
  return (await cluster.etcdctl(['get', key, '--print-value-only'])).trimEnd();
}

describe.each<EtcdMinor>(['3.4', '3.6', '3.7'])('keys put back into etcd %s', (minor) => {
  let cluster: Cluster;
  let client: KeysClient;
  beforeAll(async () => {
    cluster = await startCluster({ minor });
    client = new KeysClient(cluster.access());
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  test('250 keys come in three transactions, and a second look finds nothing to do', async () => {
    const directory = backupOf('/many/', 250);
    const before = (await cluster.members[0]!.status()).revision;
    expect(counts(await put(client, directory))).toEqual({ put: 250 });
    expect((await cluster.members[0]!.status()).revision - before).toBe(3n);
    expect(await get(cluster, '/many/00249')).toBe('from the backup 249');
    expect(await plan(client, directory)).toMatchObject({ changes: [], same: 250 });
  });

  test('a writer between showing and putting keeps what he wrote, and the others are put', async () => {
    const directory = backupOf('/raced/', 5);
    await cluster.etcdctl(['put', '/raced/00001', 'shown']);
    await cluster.etcdctl(['put', '/raced/00002', 'shown']);
    const { changes } = await plan(client, directory);
    await cluster.etcdctl(['put', '/raced/00000', 'created meanwhile']);
    await cluster.etcdctl(['put', '/raced/00001', 'changed meanwhile']);
    await cluster.etcdctl(['del', '/raced/00002']);
    const executed = await executePut({ changes, directory, live: client, signal });
    expect(executed.puts.map(({ outcome }) => outcome)).toEqual(['conflict', 'conflict', 'conflict', 'put', 'put']);
    expect(executed.puts[2]?.reason).toContain('deleted');
    expect(await get(cluster, '/raced/00000')).toBe('created meanwhile');
    expect(await get(cluster, '/raced/00001')).toBe('changed meanwhile');
    expect(await get(cluster, '/raced/00002')).toBe('');
    expect(await get(cluster, '/raced/00003')).toBe('from the backup 3');
  });

  test('a value of 1.4 MiB goes alone, bytes and all', async () => {
    const value = Buffer.alloc(1.4 * 1024 * 1024, 'x').toString();
    const directory = memoryDirectory([
      { key: '/large/1', main: 2, value: 'small' },
      { key: '/large/2', main: 3, value },
      { key: '/large/\xff\x00', main: 4, value: '' },
    ]);
    expect(counts(await put(client, directory))).toEqual({ put: 3 });
    const read = await client.read([Buffer.from('/large/2'), Buffer.from('/large/\xff\x00', 'latin1'), Buffer.from('/none')], signal);
    expect(read.size).toBe(2);
    expect(read.get('/large/2')?.value.toString() === value).toBe(true);
    expect(read.get('/large/\xff\x00')?.value.length).toBe(0);
    expect(await plan(client, directory)).toMatchObject({ changes: [], same: 3 });
  });

  test('what the backup bound to a lease is put without it, unless it is asked for and the lease lives', async () => {
    const granted = /lease ([0-9a-f]+) granted/.exec(await cluster.etcdctl(['lease', 'grant', '600']))![1]!;
    const lease = BigInt(`0x${granted}`);
    expect(await client.leaseLives(lease, signal)).toBe(true);
    expect(await client.leaseLives(lease + 1n, signal)).toBe(false);
    const directory = memoryDirectory([
      { key: '/lease/gone', main: 2, value: 'a', lease: lease + 1n },
      { key: '/lease/live', main: 3, value: 'b', lease },
    ]);
    expect(counts(await put(client, directory))).toEqual({ put: 2 });
    expect((await client.read([Buffer.from('/lease/live')], signal)).get('/lease/live')?.lease).toBe(0n);
    const withLease = await plan(client, directory, true);
    expect(withLease.changes.map(({ entry, lease: used }) => [String(entry.key), used])).toEqual([['/lease/live', lease]]);
    expect(counts(await executePut({ changes: withLease.changes, directory, live: client, signal }))).toEqual({ put: 1 });
    expect((await client.read([Buffer.from('/lease/live')], signal)).get('/lease/live')?.lease).toBe(lease);

    // A live key keeps the lease that it hangs on, although the backup knows none.
    const other = memoryDirectory([{ key: '/lease/live', main: 2, value: 'other' }]);
    expect(counts(await put(client, other))).toEqual({ put: 1 });
    const kept = (await client.read([Buffer.from('/lease/live')], signal)).get('/lease/live');
    expect([String(kept?.value), kept?.lease]).toEqual(['other', lease]);
  });

  test('asking whether keys may be written writes nothing', async () => {
    const { revision } = await cluster.members[0]!.status();
    await client.probe([Buffer.from('/many/00001'), Buffer.from('/none')], signal);
    await client.probe([], signal);
    expect((await cluster.members[0]!.status()).revision).toBe(revision);
  });
});

describe('a cluster that is full', () => {
  test('is told by its alarm before anything is compared, and a database that fills up on the way ends the work with what was put', async () => {
    await using cluster = await startCluster({ minor: '3.6', quotaBackendBytes: 4 * 1024 * 1024 });
    const client = new KeysClient(cluster.access());
    try {
      const directory = memoryDirectory(
        Array.from({ length: 200 }, (_, at) => ({ key: `/full/${1000 + at}`, main: at + 2, value: String(at).padEnd(200_000, 'x') })),
      );
      const executed = await put(client, directory);
      expect(executed.stopped).toMatchObject({ code: 'no-space' });
      const { put: done = 0, failed = 0, 'not-tried': left = 0 } = counts(executed);
      expect(done).toBeGreaterThan(0);
      expect([done + failed + left, left > 0]).toEqual([200, true]);
      const view = await observeCluster(cluster.access());
      expect(clusterBar(view, undefined, { acceptCluster: false, kubernetes: false })).toMatchObject({
        code: 'refused',
        message: expect.stringContaining('NOSPACE') as string,
      });
      // Writing is refused, reading goes on: what was said to be put is there, what was said to be left is not.
      const there = await client.read(
        executed.puts.map(({ change }) => change.entry.key),
        signal,
      );
      for (const { change, outcome } of executed.puts) expect(there.has(keyText(change.entry.key))).toBe(outcome === 'put');
      await expect(client.probe([Buffer.from('/full/1000')], signal)).rejects.toMatchObject({ code: 'no-space' });
    } finally {
      client.close();
    }
  });
});

describe('answers that do not come', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6' });
  });
  afterAll(() => cluster?.stop());

  test('a lost answer is followed by a look: nothing is put twice, nothing newer is overwritten', async () => {
    await using proxy = await startTcpProxy(cluster.members[0]!.endpoint);
    const client = new KeysClient(cluster.access({ endpoints: [proxy.endpoint], discover: false, requestTimeoutMs: 500 }));
    try {
      const directory = backupOf('/lost/', 3);
      const { changes } = await plan(client, directory);
      const before = (await cluster.members[0]!.status()).revision;
      const outcomes: string[] = [];
      const executed = await executePut({
        changes,
        directory,
        signal,
        live: {
          read: (keys, own) => client.read(keys, own),
          put: async (puts, own) => {
            // The transaction arrives, and the connection breaks before the first byte of its answer.
            if (outcomes.length === 0) void proxy.cutAfter(0);
            const result = await client.put(puts, own);
            outcomes.push(result.outcome);
            return result;
          },
        },
      });
      expect(outcomes).toEqual(['unclear']);
      expect(counts(executed)).toEqual({ put: 3 });
      expect((await cluster.members[0]!.status()).revision - before).toBe(1n);
    } finally {
      client.close();
    }
  });

  test('a dead endpoint among the configured ones is sent nothing: the one transaction goes to whoever answers', async () => {
    const client = new KeysClient(
      cluster.access({ endpoints: ['http://127.0.0.1:1', cluster.members[0]!.endpoint], discover: false, requestTimeoutMs: 2_000 }),
    );
    try {
      const before = (await cluster.members[0]!.status()).revision;
      const first = await client.put([{ key: Buffer.from('/dead'), value: Buffer.from('v'), modRevision: 0n, lease: 0n }], signal);
      expect(first).toEqual({ outcome: 'put' });
      expect((await cluster.members[0]!.status()).revision - before).toBe(1n);
      expect(counts(await put(client, backupOf('/dead/', 2)))).toEqual({ put: 2 });
    } finally {
      client.close();
    }
  });
});

describe('users that may not write', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ minor: '3.6', auth: true });
    await cluster.etcdctl(['user', 'add', 'reader:secret']);
    await cluster.etcdctl(['role', 'add', 'half']);
    await cluster.etcdctl(['role', 'grant-permission', 'half', 'read', '/k/', '--prefix']);
    await cluster.etcdctl(['role', 'grant-permission', 'half', 'readwrite', '/k/00000']);
    await cluster.etcdctl(['user', 'grant-role', 'reader', 'half']);
  });
  afterAll(() => cluster?.stop());

  test('are told before the first key is written', async () => {
    const client = new KeysClient(cluster.access({ user: 'reader', password: () => 'secret' }));
    try {
      const { changes } = await plan(client, backupOf('/k/', 2));
      expect(changes).toHaveLength(2);
      const keys = changes.map(({ entry }) => entry.key);
      await expect(client.probe(keys, signal)).rejects.toMatchObject({
        code: 'permission-denied',
        message: 'user reader may not write all of these keys',
        hint: expect.stringContaining('grant-permission') as string,
      });
      await client.probe(keys.slice(0, 1), signal);
      await expect(client.read([Buffer.from('/other')], signal)).rejects.toMatchObject({
        code: 'permission-denied',
        message: 'user reader may not read all of these keys',
      });
      expect(await get(cluster, '/k/00000')).toBe('');
    } finally {
      client.close();
    }
  });

  test('are told by the verb with exit code 1, with the password nowhere in sight', async () => {
    const folder = temporaryFolder('put-denied');
    try {
      await cluster.etcdctl(['put', '/k/00001', 'theirs']);
      writeFileSync(join(folder, 'root'), 'root', { mode: 0o600 });
      const subject = product({
        folder,
        cluster,
        clusterOptions: { coordinate: false, user: 'root', passwordFile: join(folder, 'root') },
      });
      const { id } = await subject.backup();
      await cluster.etcdctl(['put', '/k/00001', 'newer']);
      writeFileSync(join(folder, 'reader'), 'secret', { mode: 0o600 });
      const output = recordedOutput();
      const words = ['get', id, '/k/', '--put-prefix', '--yes', '--user', 'reader', '--password-file', join(folder, 'reader')];
      const direct = ['--from', subject.disk, '--endpoints', cluster.endpoints[0]!];
      expect(await runCli([...words, ...direct], { env: {}, output }), output.said.join('\n')).toBe(1);
      const said = [...output.said, ...output.printed].join('\n');
      expect(said).toContain('user reader may not write all of these keys');
      expect(said).not.toContain('secret');
      expect(await get(cluster, '/k/00001')).toBe('newer');
      const root = await runCli(['get', id, '/k/', '--put-prefix', '--yes', '--config', subject.configPath], { env: {}, output });
      expect(root, output.said.join('\n')).toBe(0);
      expect(await get(cluster, '/k/00001')).toBe('theirs');
    } finally {
      removeFolder(folder);
    }
  });
});

describe('get --put and --put-prefix', () => {
  let folder: string;
  let cluster: Cluster;
  let config: readonly string[];
  let id: string;
  beforeAll(async () => {
    folder = temporaryFolder('get-put');
    cluster = await startCluster({ minor: '3.6' });
    await cluster.fill({ keys: 250, valueBytes: 100, prefix: '/many/' });
    await cluster.etcdctl(['put', '/app/a', 'one']);
    await cluster.etcdctl(['put', '/app/b', 'two\u001b[31m']);
    await cluster.etcdctl(['put', '/app/c', 'three']);
    await cluster.etcdctl(['put', '/registry/secrets/default/s', '{"kind":"Secret","data":{"p":"aHVudGVy"}}']);
    const subject = product({ folder, cluster, clusterOptions: { coordinate: false } });
    config = ['--config', subject.configPath];
    ({ id } = await subject.backup());
  });
  afterAll(async () => {
    await cluster?.stop();
    removeFolder(folder);
  });

  async function warden(
    words: readonly string[],
    answer?: boolean,
  ): Promise<{ code: number; stdout: string; stderr: string; asked: string[] }> {
    const output = recordedOutput();
    const asked: string[] = [];
    const ask = async (question: string): Promise<boolean> => {
      asked.push(question);
      return answer === true;
    };
    const code = await runCli([...words, ...config], { env: {}, output, ...(answer === undefined ? {} : { ask }) });
    return { code, stdout: output.printed.join('\n'), stderr: output.said.join('\n'), asked };
  }

  test('shows what changes, asks, and puts only after a yes; a second time there is nothing to do', async () => {
    await cluster.etcdctl(['put', '/app/a', 'spoilt']);
    await cluster.etcdctl(['del', '/app/b']);
    const words = ['get', id, '/app/', '--put-prefix'];
    const no = await warden(words, false);
    expect([no.code, no.asked]).toEqual([14, ['put 2 keys?']]);
    expect(no.stderr).toMatch(/\/app\/a +changed +6 B +\d+ +3 B +\d+ +spoilt -> one/);
    expect(no.stderr).toMatch(/\/app\/b +added/);
    expect(no.stderr).not.toContain('\u001b');
    expect(no.stderr).toContain('1 added, 1 changed, 1 the same');
    const dry = await warden([...words, '--dry-run']);
    expect([dry.code, dry.stdout.includes('spoilt -> one')]).toEqual([0, true]);
    const nobody = await warden(words);
    expect([nobody.code, nobody.stderr.includes('spoilt -> one'), nobody.stderr.includes('nobody is there to say yes')]).toEqual([
      14,
      true,
      true,
    ]);
    expect(await get(cluster, '/app/a')).toBe('spoilt');

    const yes = await warden(words, true);
    expect(yes.code, yes.stderr).toBe(0);
    expect(yes.stdout).toContain('2 of 2 put, 1 the same already');
    expect(await get(cluster, '/app/a')).toBe('one');
    expect(await get(cluster, '/app/b')).toBe('two\u001b[31m');
    expect((await warden([...words, '--yes'])).stdout).toContain('nothing to put: all 3 keys are the same');
  });

  test('one key alone, with the result in JSON', async () => {
    await cluster.etcdctl(['del', '/app/', '--prefix']);
    const { code, stdout } = await warden(['get', id, '/app/a', '--put', '--yes', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      outcome: 'put',
      from: id,
      same: 0,
      changes: [
        { key: '/app/a', keyEncoding: 'utf8', change: 'added', bytes: 3, liveRevision: null, lease: null, outcome: 'put', reason: null },
      ],
    });
    expect(await get(cluster, '/app/c')).toBe('');
    expect((await warden(['get', id, '/none', '--put', '--yes'])).code).toBe(10);
    expect((await warden(['get', id, '/app/a', '--yes'])).code).toBe(2);
    expect((await warden(['get', id, '/app/a', '--put', '--raw'])).code).toBe(2);
  });

  test('a writer while somebody thinks about the question keeps what he wrote: exit code 3', async () => {
    await cluster.etcdctl(['put', '/app/a', 'spoilt']);
    const output = recordedOutput();
    const ask = async (): Promise<boolean> => {
      await cluster.etcdctl(['put', '/app/a', 'newer']);
      return true;
    };
    const code = await runCli(['get', id, '/app/', '--put-prefix', ...config], { env: {}, output, ask });
    expect(code).toBe(3);
    expect(output.printed.join('\n')).toMatch(/\/app\/a +changed +conflict.*it was changed at mod revision/);
    expect(await get(cluster, '/app/a')).toBe('newer');
  });

  test('keys of Kubernetes need --kubernetes, come with a warning, and are never shown', async () => {
    await cluster.etcdctl(['put', '/registry/secrets/default/s', '{"kind":"Secret","data":{"p":"bmV3ZXI="}}']);
    const words = ['get', id, '/registry/secrets/default/s', '--put', '--yes'];
    const refused = await warden(words);
    expect([refused.code, refused.stderr.includes('--kubernetes')]).toEqual([14, true]);
    const put = await warden([...words, '--kubernetes']);
    expect(put.code, put.stderr).toBe(0);
    expect(put.stdout).toMatch(/warning: Kubernetes: .*UID/);
    expect(refused.stderr + put.stdout + put.stderr).not.toMatch(/aHVudGVy|bmV3ZXI/);
    expect(await get(cluster, '/registry/secrets/default/s')).toContain('aHVudGVy');
  });

  test('another cluster than was backed up is refused unless it is meant', async () => {
    await using other = await startCluster({ minor: '3.6' });
    const words = ['get', id, '/app/a', '--put', '--yes', '--from', join(folder, 'backups'), '--endpoints', other.endpoints[0]!];
    const output = recordedOutput();
    expect(await runCli(words, { env: {}, output })).toBe(14);
    expect(output.said.join('\n')).toContain('--accept-cluster');
    expect(await runCli([...words, '--accept-cluster'], { env: {}, output: recordedOutput() })).toBe(0);
    expect(await get(other, '/app/a')).toBe('one');
  });

  test('killed half way, the same command puts the rest', async () => {
    await cluster.etcdctl(['del', '/many/', '--prefix']);
    await using proxy = await startTcpProxy(cluster.members[0]!.endpoint);
    const words = ['get', id, '/many/', '--put-prefix', '--yes', '--from', join(folder, 'backups')];
    const running = startWarden([...words, '--endpoints', proxy.endpoint, '--no-discover']);
    const present = async (): Promise<number> =>
      Number(/"Count" : (\d+)/.exec(await cluster.etcdctl(['get', '/many/', '--prefix', '--count-only', '--write-out=fields']))?.[1] ?? 0);
    // Slow enough that the second transaction has not been carried out when the first one is seen.
    proxy.delay(100);
    const looking = new KeysClient(cluster.access());
    await until(async () => (await looking.read([Buffer.from('/many/00000000')], signal)).size > 0, 'nothing was put', { everyMs: 5 });
    running.kill('SIGKILL');
    looking.close();
    await running.done;
    const left = 250 - (await present());
    expect(left).toBeGreaterThan(0);
    const again = await warden(['get', id, '/many/', '--put-prefix', '--yes', '--json']);
    expect(again.code, again.stderr).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ outcome: 'put', same: 250 - left });
    expect(await present()).toBe(250);
  });

  test('refused while NOSPACE is armed; a dry run still shows what would change', async () => {
    await cluster.raiseAlarm('NOSPACE', cluster.members[0]!);
    const refused = await warden(['get', id, '/app/c', '--put', '--yes']);
    expect([refused.code, refused.stderr.includes('NOSPACE')]).toEqual([14, true]);
    const dry = await warden(['get', id, '/app/c', '--put', '--dry-run']);
    expect(dry.code, dry.stderr).toBe(0);
    expect(dry.stdout).toContain('it would be refused: the NOSPACE alarm');
    await cluster.disarmAlarms();
  });
});
