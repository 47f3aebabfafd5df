import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { lookAtData, moveData } from './data-dir.ts';
import { lockedInodes } from './locks.ts';
import { probePeers } from './peer-port.ts';
import { staticPodManager } from './static-pod.ts';
import { unitManager } from './unit.ts';
import { identityIn } from './wal-head.ts';

const { signal } = new AbortController();
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warden-local-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** A frame of etcd's log: length with padding in its upper byte, then the record. */
function frame(type: number, data: Buffer): Buffer {
  const record = Buffer.concat([Buffer.of(0x08, type, 0x10, 0x05), ...(data.length === 0 ? [] : [Buffer.of(0x1a, data.length), data])]);
  const padding = (8 - (record.length % 8)) % 8;
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(record.length) | (padding === 0 ? 0n : BigInt(0x80 | padding) << 56n));
  return Buffer.concat([length, record, Buffer.alloc(padding)]);
}

const varint = (value: bigint): number[] => (value < 0x80n ? [Number(value)] : [Number(value & 0x7fn) | 0x80, ...varint(value >> 7n)]);
const metadata = (member: bigint, cluster: bigint): Buffer => Buffer.of(0x08, ...varint(member), 0x10, ...varint(cluster));
const LOG = Buffer.concat([frame(4, Buffer.alloc(0)), frame(1, metadata(0xfedcba9876543210n, 0x8000000000000001n)), Buffer.alloc(64)]);

describe('the beginning of a write-ahead log', () => {
  test('names member and cluster, all 64 bits of them', () => {
    expect(identityIn(LOG)).toEqual({ kind: 'known', memberId: 0xfedcba9876543210n, clusterId: 0x8000000000000001n });
  });

  test('cut off anywhere, or damaged, it names nobody and nothing is thrown', () => {
    for (let length = 0; length < LOG.length - 72; length++)
      expect(identityIn(LOG.subarray(0, length)).kind, String(length)).toBe('unknown');
    expect(identityIn(Buffer.alloc(100)).kind).toBe('unknown');
    expect(identityIn(Buffer.alloc(100, 0xff)).kind).toBe('unknown');
    expect(identityIn(Buffer.concat([frame(1, Buffer.of(0x08)), LOG])).kind).toBe('unknown');
    expect(identityIn(Buffer.concat([frame(1, Buffer.of(0x0d, 1)), LOG])).kind).toBe('unknown');
    expect(identityIn(Buffer.concat([frame(2, Buffer.of(1, 2, 3)), LOG])).kind).toBe('known');
  });
});

test('locks that are held are told from those that somebody waits for', () => {
  const text =
    '1: FLOCK  ADVISORY  WRITE 7 08:01:111 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 08:01:222 0 EOF\n2: OFDLCK ADVISORY  WRITE -1 00:1a:333 0 EOF\n';
  expect([...lockedInodes(text)]).toEqual(['111', '333']);
});

describe('a data directory', () => {
  const make = (name = 'etcd', wal = join(name, 'member/wal')): { dataDir: string; walDir: string | undefined } => {
    const dataDir = join(folder, name);
    mkdirSync(join(dataDir, 'member/snap'), { recursive: true, mode: 0o700 });
    mkdirSync(join(folder, wal), { recursive: true });
    writeFileSync(join(folder, wal, '0-0.wal'), LOG);
    const database = Buffer.alloc(8192);
    database.writeUInt32LE(0xed0cdaed, 16);
    writeFileSync(join(dataDir, 'member/snap/db'), database);
    return { dataDir, walDir: wal.startsWith(name) ? undefined : join(folder, wal) };
  };

  test('is looked at without being touched', async () => {
    const place = make();
    expect(await lookAtData(place)).toEqual({
      ...place,
      exists: true,
      data: 'present',
      identity: { kind: 'known', memberId: 0xfedcba9876543210n, clusterId: 0x8000000000000001n },
      inUse: false,
      damage: [],
    });
    writeFileSync(join(place.dataDir, 'member/snap/db'), Buffer.alloc(8192));
    rmSync(join(place.dataDir, 'member/wal'), { recursive: true });
    expect(await lookAtData(place)).toMatchObject({
      identity: { kind: 'unknown' },
      damage: [expect.stringContaining('log is missing'), expect.stringContaining('no bbolt database')],
    });
    rmSync(join(place.dataDir, 'member/snap/db'));
    expect((await lookAtData(place)).damage).toContainEqual(expect.stringMatching(/db is missing/));
    for (const dataDir of [join(folder, 'none'), folder])
      expect(await lookAtData({ dataDir, walDir: undefined })).toMatchObject({ data: 'none', damage: [] });
  });

  test('moves as a whole, and leaves an empty one of the same mode', async () => {
    const place = make();
    chmodSync(place.dataDir, 0o750);
    expect(await moveData(place, 'NOW', signal)).toEqual([`${place.dataDir}.replaced-NOW`]);
    expect(readdirSync(place.dataDir)).toEqual([]);
    expect(statSync(place.dataDir).mode & 0o777).toBe(0o750);
    expect(readFileSync(`${place.dataDir}.replaced-NOW/member/wal/0-0.wal`)).toEqual(LOG);
    expect(await moveData(place, 'NOW', signal)).toEqual([]);
    expect(readdirSync(folder)).toEqual(['etcd', 'etcd.replaced-NOW']);
    // Interrupted when the old one was away, and the new one not yet in its place.
    renameSync(place.dataDir, `${place.dataDir}.next-by-etcd-warden`);
    expect(await lookAtData(place)).toMatchObject({ exists: false, data: 'present', damage: [] });
    expect(await moveData(place, 'NOW', signal)).toEqual([]);
    expect((await lookAtData(place)).data).toBe('none');
    expect(readdirSync(folder)).toEqual(['etcd', 'etcd.replaced-NOW']);
    // A second one in the same second takes another name.
    make();
    expect(await moveData(place, 'NOW', signal)).toEqual([`${place.dataDir}.replaced-NOW-2`]);
  });

  test('moves with a WAL directory of its own, also when an interruption left that alone', async () => {
    const place = make('etcd', 'wal');
    rmSync(join(place.dataDir, 'member'), { recursive: true });
    expect((await lookAtData(place)).data).toBe('present');
    expect(await moveData(place, 'NOW', signal)).toEqual([`${place.walDir}.replaced-NOW`]);
    expect((await lookAtData(place)).data).toBe('none');
    renameSync(place.walDir!, `${place.walDir}.next-by-etcd-warden`);
    expect((await lookAtData(place)).data).toBe('present');
    expect(await moveData(place, 'NOW', signal)).toEqual([]);
    expect(readdirSync(place.walDir!)).toEqual([]);
  });

  test('behind a link keeps the link, and the old data lies inside', async () => {
    const real = make('disk');
    const dataDir = join(folder, 'link');
    symlinkSync(real.dataDir, dataDir);
    expect(await moveData({ dataDir, walDir: undefined }, 'NOW', signal)).toEqual([join(dataDir, 'link.replaced-NOW')]);
    expect(existsSync(join(real.dataDir, 'link.replaced-NOW/member/snap/db'))).toBe(true);
    expect((await lookAtData({ dataDir, walDir: undefined })).data).toBe('none');
  });
});

test('a peer port is open, silent, or not to be known', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  expect(await probePeers([`http://127.0.0.1:${port}`], signal)).toBe('open');
  server.close();
  await once(server, 'close');
  expect(await probePeers([`http://127.0.0.1:${port}`], signal)).toBe('silent');
  expect(await probePeers([], signal)).toBe('unknown');
});

describe('a static pod', () => {
  const manifest = (): string => join(folder, 'kubernetes/manifests/etcd.yaml');
  const held = (): string => join(folder, 'kubernetes/etcd.yaml.held-by-etcd-warden');
  const pod = 'kind: Pod\nspec:\n  containers:\n  - name: etcd\n    command:\n    - etcd\n    - --initial-cluster=m3=u # all\n';

  test('stops by moving its manifest out, is changed outside, and starts by moving it back', async () => {
    mkdirSync(join(folder, 'kubernetes/manifests'), { recursive: true });
    writeFileSync(manifest(), pod, { mode: 0o600 });
    const manager = staticPodManager(manifest(), join(folder, 'logs'));
    expect(await manager.running(signal)).toBe(true);
    await expect(manager.setExisting('NOW', signal)).rejects.toMatchObject({ code: 'refused' });
    await manager.stop(signal);
    await manager.stop(signal);
    expect(await manager.running(signal)).toBe(false);
    expect(readdirSync(join(folder, 'kubernetes/manifests'))).toEqual([]);
    const copy = join(folder, 'kubernetes/etcd.yaml.replaced-NOW');
    expect(await manager.setExisting('NOW', signal)).toMatchObject({ path: held(), copy, line: 8 });
    expect(readFileSync(copy, 'utf8')).toBe(pod);
    expect(statSync(held()).mode & 0o777).toBe(0o600);
    expect(await manager.setExisting('NOW', signal)).toBeUndefined();
    expect(await manager.config(signal)).toMatchObject({ initialClusterState: 'existing', initialCluster: 'm3=u' });
    await manager.start(signal);
    expect(readFileSync(manifest(), 'utf8')).toBe(`${pod}    - --initial-cluster-state=existing\n`);
    expect(existsSync(held())).toBe(false);
  });

  test('that somebody made anew meanwhile, or that is nowhere, is left alone', async () => {
    mkdirSync(join(folder, 'kubernetes/manifests'), { recursive: true });
    const manager = staticPodManager(manifest(), join(folder, 'logs'));
    await expect(manager.running(signal)).rejects.toMatchObject({ code: 'usage' });
    writeFileSync(manifest(), pod);
    writeFileSync(held(), pod);
    await expect(manager.running(signal)).rejects.toMatchObject({ code: 'refused' });
  });

  test('has its log where the kubelet puts it, the newest start', async () => {
    const logs = join(folder, 'logs/kube-system_etcd-node_uid/etcd');
    mkdirSync(logs, { recursive: true });
    writeFileSync(join(logs, '9.log'), 'old');
    writeFileSync(join(logs, '10.log'), 'new\nlines');
    expect(await staticPodManager(manifest(), join(folder, 'logs')).log(signal)).toEqual(['new', 'lines']);
    expect(await staticPodManager(manifest(), join(folder, 'none')).log(signal)).toEqual([]);
  });
});

describe('a unit', () => {
  /** `systemctl` that answers with the text of a file. */
  function systemctl(show: string, active = 'active'): void {
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    writeFileSync(join(folder, 'show'), show);
    writeFileSync(
      join(bin, 'systemctl'),
      `#!/bin/sh\necho "$@" >> ${folder}/calls\ncase $1 in show) cat ${folder}/show ;; is-active) echo ${active}; [ ${active} = active ] || exit 3 ;; stop) echo broken >&2; exit 1 ;; esac\n`,
      { mode: 0o755 },
    );
    vi.stubEnv('PATH', `${bin}:${process.env['PATH']}`);
  }

  test('is read with its environment, its files and what its command line makes of them', async () => {
    const file = join(folder, 'etcd.env');
    writeFileSync(file, 'ETCD_INITIAL_CLUSTER=file\nOPTIONS="--name m3 --initial-cluster-state=existing"\n');
    systemctl(
      `LoadState=loaded\nExecStart={ path=/usr/bin/etcd ; argv[]=/usr/bin/etcd $OPTIONS --data-dir=\${DIR} ; ignore_errors=no ; pid=0 }\nEnvironment="ETCD_INITIAL_CLUSTER=unit file" DIR=/d\nEnvironmentFiles=${file} (ignore_errors=no)\nEnvironmentFiles=/none (ignore_errors=yes)\n`,
    );
    const manager = unitManager('etcd.service', undefined);
    expect(await manager.config(signal)).toEqual({
      where: 'etcd.service',
      name: 'm3',
      initialCluster: 'file',
      initialClusterState: 'existing',
    });
    // No file was named that may be changed.
    expect(await manager.setExisting('NOW', signal)).toBeUndefined();
    await expect(manager.stop(signal)).rejects.toThrow(/systemctl stop etcd.service: broken/);
    await manager.start(signal);
    expect(readFileSync(join(folder, 'calls'), 'utf8')).toContain('start --no-block etcd.service');
  });

  test('is read with all environment files that a pattern names, as systemd does', async () => {
    writeFileSync(join(folder, 'etcd-1.env'), 'ETCD_NAME=m1\nETCD_INITIAL_CLUSTER=one\n');
    writeFileSync(join(folder, 'etcd-2.env'), 'ETCD_NAME=m2\n');
    systemctl(
      `LoadState=loaded\nExecStart={ argv[]=/usr/bin/etcd ; ignore_errors=no ; }\nEnvironment=ETCD_NAME=unit\nEnvironmentFiles=${folder}/etcd-*.env (ignore_errors=no)\n`,
    );
    const manager = unitManager('etcd.service', undefined);
    expect(await manager.config(signal)).toMatchObject({ name: 'm2', initialCluster: 'one' });
    rmSync(join(folder, 'etcd-1.env'));
    rmSync(join(folder, 'etcd-2.env'));
    // systemd would not start it either.
    await expect(manager.config(signal)).rejects.toMatchObject({ code: 'disk-failed' });
  });

  test('with a configuration file is read from that, and from nothing else', async () => {
    const file = join(folder, 'etcd.yaml');
    writeFileSync(file, 'name: m3\ninitial-cluster: m3=u\ninitial-cluster-state: existing\n');
    systemctl(
      `ExecStart={ path=/usr/bin/etcd ; argv[]=/usr/bin/etcd --config-file ${file} --name=no ; ignore_errors=no ; }\n`,
      'activating',
    );
    const manager = unitManager('etcd.service', undefined);
    expect(await manager.config(signal)).toEqual({ where: file, name: 'm3', initialCluster: 'm3=u', initialClusterState: 'existing' });
    // Between two tries of systemd to start it, it is to run.
    expect(await manager.running(signal)).toBe(true);
  });

  test('that is not there, or does not tell what it starts, is not guessed at', async () => {
    systemctl('LoadState=not-found\n', 'inactive');
    const manager = unitManager('etcd.service', undefined);
    await expect(manager.config(signal)).rejects.toMatchObject({ code: 'usage' });
    writeFileSync(join(folder, 'show'), 'LoadState=loaded\n');
    await expect(manager.config(signal)).rejects.toMatchObject({ code: 'refused' });
    expect(await manager.running(signal)).toBe(false);
  });

  test('has one line of its environment file changed, after a copy', async () => {
    const file = join(folder, 'etcd.env');
    writeFileSync(file, 'ETCD_INITIAL_CLUSTER_STATE=new\n', { mode: 0o640 });
    systemctl(`ExecStart={ argv[]=/usr/bin/etcd ; ignore_errors=no ; }\nEnvironmentFiles=${file} (ignore_errors=no)\n`);
    const manager = unitManager('etcd.service', file);
    expect(await manager.setExisting('NOW', signal)).toMatchObject({ copy: `${file}.replaced-NOW`, line: 1 });
    expect(readFileSync(file, 'utf8')).toBe('ETCD_INITIAL_CLUSTER_STATE=existing\n');
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(await manager.setExisting('NOW', signal)).toBeUndefined();
  });
});
