import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { WardenError } from '../../errors.ts';
import { keyText, type PutOutcome } from '../../etcd/keys.ts';
import { silentLogger, type Logger } from '../../telemetry/logger.ts';
import { memoryKeys, type MemoryKeys } from '../../../test/support/memory-keys.ts';
import { openRecord, type Change, type MaintenanceRecordStore } from './record.ts';

const T = Date.UTC(2026, 10, 22);
const KEY = keyText(Buffer.from('/etcd-warden/maintenance/main'));
const signal = new AbortController().signal;

let folder: string;
let keys: MemoryKeys;
let warnings: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warden-record-'));
  keys = memoryKeys();
  warnings = [];
  return () => rmSync(folder, { recursive: true, force: true });
});

function open(stateDir = folder, through: Pick<MemoryKeys, 'read' | 'put'> & { clusterId?(): bigint } = keys): MaintenanceRecordStore {
  const logger: Logger = { ...silentLogger, warn: (_, message) => warnings.push(message) };
  const access = { name: 'main', endpoints: [], requestTimeoutMs: 1, dialTimeoutMs: 1, streamIdleTimeoutMs: 1, discover: false };
  return openRecord({ name: 'main', stateDir, keyPrefix: '/etcd-warden/', access, logger, now: () => new Date(T), keys: through });
}

const defragmented = (member: string, atMs = T): Change => ({
  kind: 'defragmented',
  member,
  defrag: { atMs, tookMs: 900, beforeBytes: 200, afterBytes: 100, inUseBytes: 90 },
});

function inEtcd(): string | undefined {
  return keys.keys.get(KEY)?.value.toString();
}

describe('the record of maintenance', () => {
  test('another daemon, with a state folder of its own, knows what the first one did', async () => {
    const first = open(join(folder, 'one'));
    await first.note(defragmented('a'), signal);
    await first.note({ kind: 'compacted', atMs: T, revision: 7n }, signal);
    expect(await open(join(folder, 'two')).read(signal)).toEqual(first.current());
  });

  test('two that note at once lose nothing of each other', async () => {
    const [a, b] = [open(join(folder, 'one')), open(join(folder, 'two'))];
    let other: Promise<void> | undefined;
    keys.before = () => {
      if (other !== undefined) return undefined;
      // Between the read and the put of the first one the second one writes.
      keys.before = undefined;
      other = b.note(defragmented('b'), signal);
      return { outcome: 'changed' };
    };
    await a.note(defragmented('a'), signal);
    await b.note(defragmented('c'), signal);
    await other;
    expect(Object.keys((await open(join(folder, 'three')).read(signal)).defrags)).toEqual(['a', 'b', 'c']);
  });

  test('H25: while NOSPACE refuses every put the file has it, and the next note brings all of it into etcd', async () => {
    const refused = { ...keys, put: async (): Promise<PutOutcome> => Promise.reject(new WardenError('no-space', 'refused')) };
    await open(folder, refused).note(defragmented('a'), signal);
    expect(inEtcd()).toBeUndefined();
    const next = open();
    expect(Object.keys((await next.read(signal)).defrags)).toEqual(['a']);
    await next.note({ kind: 'disarmed', atMs: T }, signal);
    expect(inEtcd()).toContain('"defrags":{"a":');
    expect(warnings).toEqual([]);
  });

  test('an etcd that does not answer, and a state folder that cannot be written, are told once and stop nothing', async () => {
    const dead = async (): Promise<never> => Promise.reject(new WardenError('unreachable', 'nobody'));
    writeFileSync(join(folder, 'file'), '');
    const record = open(join(folder, 'file'), { read: dead, put: dead });
    await record.read(signal);
    await record.note(defragmented('a'), signal);
    await record.note(defragmented('b'), signal);
    expect(Object.keys(record.current().defrags)).toEqual(['a', 'b']);
    expect(warnings).toEqual([
      'the record of maintenance in etcd cannot be read',
      'the record of maintenance in the state folder cannot be read',
      'the record of maintenance in the state folder cannot be written',
      'the record of maintenance in etcd cannot be written',
    ]);
  });

  test('a lost answer is settled by reading again, and a key that never stands still is given up', async () => {
    keys.before = (_, carryOut) => {
      keys.before = undefined;
      carryOut();
      return { outcome: 'unclear', error: new WardenError('timeout', 'lost') };
    };
    await open().note(defragmented('a'), signal);
    expect(keys.transactions).toHaveLength(1);
    keys.before = () => ({ outcome: 'changed' });
    await open().note(defragmented('b'), signal);
    expect(keys.transactions).toHaveLength(6);
    expect(warnings).toEqual(['the record of maintenance in etcd cannot be written']);
  });

  test('something else under the key is replaced, a record of a later version is not', async () => {
    keys.set('/etcd-warden/maintenance/main', 'hello');
    const record = open();
    expect((await record.read(signal)).defrags).toEqual({});
    await record.note(defragmented('a'), signal);
    expect(inEtcd()).toContain('"schema":1');
    keys.set('/etcd-warden/maintenance/main', '{"schema":2}');
    await record.note(defragmented('b'), signal);
    expect(inEtcd()).toBe('{"schema":2}');
    expect(readFileSync(join(folder, 'maintenance/main.json'), 'utf8')).toContain('"b"');
  });

  test('H12: what was done to one cluster holds nothing back on another one of the same name', async () => {
    const other = { ...memoryKeys(), clusterId: () => 2n };
    await open(folder, { ...keys, clusterId: () => 1n }).note({ kind: 'disarmed', atMs: T }, signal);
    expect((await open(folder, other).read(signal)).disarmedMs).toBeUndefined();
    await open(folder, other).note(defragmented('b'), signal);
    expect(Object.keys((await open(folder, other).read(signal)).defrags)).toEqual(['b']);
    // The file has gone over to the other one by now; etcd still knows.
    expect(await open(folder, { ...keys, clusterId: () => 1n }).read(signal)).toMatchObject({ disarmedMs: T, defrags: {} });
  });

  test('a damaged file is told and forgotten', async () => {
    const record = open();
    await record.note(defragmented('a'), signal);
    keys.remove('/etcd-warden/maintenance/main');
    writeFileSync(join(folder, 'maintenance/main.json'), '{"schema":1,"defr');
    expect((await open().read(signal)).defrags).toEqual({});
    expect(warnings).toHaveLength(1);
  });

  test('an entry from a clock that was ahead is forgotten', async () => {
    await open().note(defragmented('a', T + 3_600_000), signal);
    expect((await open().read(signal)).defrags).toEqual({});
  });

  test('who gives up is not kept waiting, and the file has it', async () => {
    const stop = new AbortController();
    const hanging = {
      ...keys,
      read: async (_: readonly Buffer[], inner?: AbortSignal): Promise<never> => {
        stop.abort(new WardenError('interrupted', 'enough'));
        inner?.throwIfAborted();
        return Promise.reject(new Error('not aborted'));
      },
    };
    await expect(open(folder, hanging).note(defragmented('a'), stop.signal)).rejects.toThrow('enough');
    expect(readFileSync(join(folder, 'maintenance/main.json'), 'utf8')).toContain('"a"');
  });
});
