import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ETCD_MINORS, program } from '../../../tools/programs.ts';
import { createAuthority, writeCertificates } from '../../support/certificates.ts';
import { startCluster } from '../../support/cluster.ts';
import { until } from '../../support/processes.ts';
import { connect } from '../../support/rpc.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const folder = temporaryFolder('cluster-test');
afterAll(() => removeFolder(folder));

describe('the test cluster', () => {
  test.each(ETCD_MINORS)('etcd %s starts with TLS and authentication, and takes keys', async (minor) => {
    const { tls } = writeCertificates(folder, { clientCertRequired: true });
    await using cluster = await startCluster({ minor, tls, auth: true });
    const { revision } = await cluster.fill({ keys: 250, valueBytes: 1_000 });
    expect(revision).toBe(4n);
    expect((await cluster.etcdctl(['get', '', '--prefix', '--keys-only'])).match(/^\/fill\//gm)).toHaveLength(250);
    expect((await cluster.members[0]!.status()).version).toMatch(`${minor}.`);
  });

  test('three members go on without their leader, and it comes back', async () => {
    await using cluster = await startCluster({ minor: '3.6', members: 3 });
    const writer = cluster.writer();
    const leader = await cluster.leader();
    await leader.kill();
    expect(leader.running()).toBe(false);
    const next = await cluster.leader();
    expect(next).not.toBe(leader);
    const before = writer.counters().written;
    await until(() => writer.counters().written > before + 10, 'no writes without the old leader');
    await leader.restart();
    // It follows, unless the machine stood still and there was one more election.
    expect((await leader.status()).leader).toBe((await (await cluster.leader()).status()).memberId);
    const { failed, longestGapMs } = await writer.stop();
    expect(failed).toBeGreaterThan(0);
    expect(longestGapMs).toBeGreaterThan(500);
  });

  test('a paused member answers nothing until it is resumed', async () => {
    await using cluster = await startCluster({ minor: '3.6' });
    const [member] = cluster.members as [(typeof cluster.members)[number]];
    member.pause();
    await expect(member.rpc.call('etcdserverpb.Maintenance/Status', Buffer.alloc(0), { timeoutMs: 300 })).rejects.toThrow(
      'DEADLINE_EXCEEDED',
    );
    member.resume();
    expect((await member.status()).leader).not.toBe(0n);
  });

  test('alarms are raised by hand or by a full quota, and a restart goes through them', async () => {
    await using cluster = await startCluster({ minor: '3.4', quotaBackendBytes: 4 * 1024 * 1024 });
    const [member] = cluster.members as [(typeof cluster.members)[number]];
    const { memberId } = await member.status();
    await cluster.raiseAlarm('CORRUPT', member);
    expect(await cluster.alarms()).toEqual([{ memberId, type: 'CORRUPT' }]);
    await cluster.disarmAlarms();
    await cluster.exhaustQuota();
    expect(await cluster.alarms()).toEqual([{ memberId, type: 'NOSPACE' }]);
    await member.restart();
    expect(await cluster.alarms()).toEqual([{ memberId, type: 'NOSPACE' }]);
  });

  test('a learner joins and is promoted', async () => {
    await using cluster = await startCluster({ minor: '3.6', learner: true });
    const learner = cluster.members[1]!;
    expect(await learner.status()).toMatchObject({ isLearner: true });
    await cluster.promote(learner);
    expect(await learner.status()).toMatchObject({ isLearner: false });
  });

  test('certificates that are expired, for another name or from another authority are refused', async () => {
    const { tls, write, authority, strangeCaFile } = writeCertificates(folder);
    async function attempt(serverCertificate: { certFile: string; keyFile: string }, caFile = tls.caFile): Promise<string> {
      const server = { ...tls, serverCertFile: serverCertificate.certFile, serverKeyFile: serverCertificate.keyFile };
      await using cluster = await startCluster({ minor: '3.6', tls: server });
      const rpc = connect(cluster.endpoints[0]!, { tls: { caFile } });
      return await rpc
        .call('etcdserverpb.Maintenance/Status', Buffer.alloc(0), { timeoutMs: 3_000 })
        .then(
          () => 'accepted',
          (error: Error) => error.message,
        )
        .finally(() => rpc.close());
    }
    const names = ['127.0.0.1', 'localhost'];
    const day = 86_400_000;
    const expired = authority.issue({
      commonName: 'etcd',
      names,
      notBefore: new Date(Date.now() - 2 * day),
      notAfter: new Date(Date.now() - day),
    });
    expect(await attempt(write('expired', expired))).toMatch(/expired/);
    expect(await attempt(write('other-name', authority.issue({ commonName: 'etcd', names: ['elsewhere.example'] })))).toMatch(
      /altnames|Hostname/i,
    );
    const good = write('good', authority.issue({ commonName: 'etcd', names }));
    expect(await attempt(good)).toBe('accepted');
    expect(await attempt(good, strangeCaFile)).toMatch(/unable to verify|self-signed|certificate/);
    expect(await attempt(write('forged', createAuthority().issue({ commonName: 'etcd', names })))).toMatch(/certificate/);
  });

  test('one that does not start is begun anew once, and the logs of both are told when that fails too', async () => {
    const etcdctl = program('etcdctl', '3.6');
    function script(name: string, text: string): string {
      const path = join(folder, name);
      writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      return path;
    }
    const once = `[ -e ${folder}/tried ] && exec ${program('etcd', '3.6')} "$@"\ntouch ${folder}/tried\nexit 1`;
    await using cluster = await startCluster({ minor: '3.6', programs: { etcd: script('once', once), etcdctl } });
    expect(await cluster.alarms()).toEqual([]);
    const never = script('never', 'echo "no luck $$"; exit 1');
    const failure = await startCluster({ minor: '3.6', programs: { etcd: never, etcdctl } }).then(() => '', String);
    expect(new Set(failure.match(/no luck \d+/g)).size).toBe(2);
  });

  test('nothing is left behind when the test process is killed', async () => {
    const script = `
      import { startCluster } from '${join(import.meta.dirname, '../../support/cluster.ts')}';
      const { members } = await startCluster({ minor: '3.6' });
      process.stdout.write(JSON.stringify({ pid: members[0].pid, dataDir: members[0].dataDir }) + '\\n');
    `;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let line = '';
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      line += chunk;
      if (line.includes('\n')) break;
    }
    const { pid, dataDir } = JSON.parse(line) as { pid: number; dataDir: string };
    expect([alive(pid), existsSync(dataDir)]).toEqual([true, true]);
    child.kill('SIGKILL');
    await until(() => !alive(pid) && !existsSync(dataDir), 'something was left behind');
  });
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
