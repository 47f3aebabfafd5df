import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials, status as Code, type ServiceError } from '@grpc/grpc-js';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { program } from '../../../tools/programs.ts';
import { GrpcFailure, startFakeMember, type FakeMember, type SnapshotScript } from '../../support/fake-member.ts';
import { run } from '../../support/processes.ts';
import { seeded } from '../../support/random.ts';
import { connect } from '../../support/rpc.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';
import { bytes, decode, integer, text } from '../../support/wire.ts';

const folder = temporaryFolder('fake-member');
// etcdctl knows a trailer by the length: a multiple of 512, and 32.
const database = seeded(1).fill(Buffer.alloc(196 * 512));
const hash = createHash('sha256').update(database).digest();
let fake: FakeMember;

afterEach(() => fake.close());
afterAll(() => removeFolder(folder));

/** Every message of one Snapshot call, and how it ended. */
async function play(script: Partial<SnapshotScript>, limit = Infinity): Promise<{ data: Buffer; remaining: number[]; end: string }> {
  fake = await startFakeMember({ snapshot: { database, ...script } });
  const client = new Client(new URL(fake.endpoint).host, credentials.createInsecure());
  const call = client.makeServerStreamRequest('/etcdserverpb.Maintenance/Snapshot', (message: Buffer) => message, decode, Buffer.alloc(0));
  const blobs: Buffer[] = [];
  const remaining: number[] = [];
  let end = 'OK';
  try {
    for await (const message of call) {
      blobs.push(bytes(message, 3));
      remaining.push(Number(integer(message, 2)));
      if (blobs.length === limit) call.cancel();
    }
  } catch (error) {
    end = Code[(error as ServiceError).code];
  }
  client.close();
  return { data: Buffer.concat(blobs), remaining, end };
}

describe('the fake member', () => {
  test('streams what etcdctl takes for a snapshot, and etcdctl refuses it without its trailer', async () => {
    fake = await startFakeMember({ snapshot: { database, version: '3.6.0' } });
    const file = join(folder, 'taken.db');
    const save = [`--endpoints=${fake.endpoint}`, 'snapshot', 'save', file];
    await run(program('etcdctl', '3.6'), save);
    expect(readFileSync(file).equals(Buffer.concat([database, hash]))).toBe(true);
    fake.snapshot = { database, omitTrailer: true };
    await expect(run(program('etcdctl', '3.6'), save)).rejects.toThrow(/sha256/);
  });

  test('counts down what remains, in blobs of 32 KiB', async () => {
    const { data, remaining, end } = await play({});
    expect([data.length, end]).toEqual([100_384, 'OK']);
    expect(remaining).toEqual([67_584, 34_816, 2_048, 0, 0]);
  });

  test.each<[string, Partial<SnapshotScript>, number, string]>([
    ['a stream without its trailer', { omitTrailer: true }, 100_352, 'OK'],
    ['one byte fewer than announced', { dropBytes: 1 }, 100_383, 'OK'],
    ['one byte more than announced', { dropBytes: -1 }, 100_385, 'OK'],
    ['an orderly end in the middle', { endAt: 50_000 }, 50_000, 'OK'],
    ['a failure in the middle', { failAt: { bytes: 50_000 } }, 50_000, 'UNAVAILABLE'],
    ['a failure of a given kind at the start', { failAt: { bytes: 0, code: Code.PERMISSION_DENIED } }, 0, 'PERMISSION_DENIED'],
  ])('plays %s', async (_, script, length, ending) => {
    const { data, end } = await play(script);
    expect([data.length, end]).toEqual([length, ending]);
  });

  test('plays a wrong trailer and a remaining count that never moves', async () => {
    const { data, remaining } = await play({ trailer: Buffer.alloc(32, 1), constantRemaining: 7 });
    expect(data.subarray(-32)).toEqual(Buffer.alloc(32, 1));
    expect(new Set(remaining)).toEqual(new Set([7]));
  });

  test('spins with empty blobs until the client goes', async () => {
    const { data, end } = await play({ emptyBlobs: Infinity, emptyAt: 40_000 }, 500);
    expect(end).toBe('CANCELLED');
    expect(data).toHaveLength(40_000);
  });

  test('answers Status as it is told at that moment, and other calls with given answers or failures', async () => {
    fake = await startFakeMember({ clusterId: 7n, name: 'odd', status: { version: '3.4.1' } });
    const rpc = connect(fake.endpoint);
    const status = await rpc.call('etcdserverpb.Maintenance/Status', Buffer.alloc(0));
    expect([text(status, 2), integer(decode(bytes(status, 1)), 1)]).toEqual(['3.4.1', 7n]);
    fake.status = { ...fake.status, version: '3.7.0' };
    expect(text(await rpc.call('etcdserverpb.Maintenance/Status', Buffer.alloc(0)), 2)).toBe('3.7.0');
    fake.answers.set('etcdserverpb.KV/Range', () => {
      throw new GrpcFailure(Code.UNAVAILABLE, 'etcdserver: no leader');
    });
    await expect(rpc.call('etcdserverpb.KV/Range', Buffer.alloc(0))).rejects.toThrow('14 UNAVAILABLE: etcdserver: no leader');
    fake.answers.set('etcdserverpb.KV/Range', () => new Promise(() => undefined));
    await expect(rpc.call('etcdserverpb.KV/Range', Buffer.alloc(0), { timeoutMs: 200 })).rejects.toThrow('DEADLINE_EXCEEDED');
    expect([fake.count('etcdserverpb.Maintenance/Status'), fake.count('etcdserverpb.KV/Range')]).toEqual([2, 2]);
    rpc.close();
  });
});
