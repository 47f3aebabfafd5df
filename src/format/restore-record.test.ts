import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { sampleRestore } from '../../test/support/manifests.ts';
import { decodeRestoreRecord, encodeRestoreRecord, RESTORE_RECORD_MAX_BYTES, type RestoreRecord } from './restore-record.ts';

const whole = sampleRestore({ filtered: true });

describe('the record of a restore', () => {
  test('what was written is read back, with all its fields and with the least of them', () => {
    const least = sampleRestore({
      source: { databaseSha256: 'c'.repeat(64) },
      raisedFrom: undefined,
      compactRevision: '-1',
      builder: 'etcdutl',
    });
    for (const each of [whole, sampleRestore(), JSON.parse(JSON.stringify(least)) as RestoreRecord]) {
      expect(decodeRestoreRecord(encodeRestoreRecord(each))).toEqual(each);
    }
  });

  test('people can read it: one field a line, and ids that may exceed 2^53 as text', () => {
    expect(encodeRestoreRecord(whole).toString()).toMatch(/^\{\n {2}"schema": 1,\n {2}"tool"[^]*"id": "ffffffffffffffff"[^]*\}\n$/);
  });

  test('five members with eight long peer URLs each are below 8 KiB', () => {
    const members = Array.from({ length: 5 }, (_, index) => ({
      id: `ffffffffffffff0${index}`,
      name: `etcd-${index}.etcd-headless.kube-system.svc.cluster.local`,
      peerUrls: Array.from(
        { length: 8 },
        (_url, url) => `https://etcd-${index}.${url}.etcd-headless.kube-system.svc.cluster.example.internal:2380`,
      ),
    }));
    const bytes = encodeRestoreRecord(sampleRestore({ members }));
    expect(bytes.length).toBeLessThan(RESTORE_RECORD_MAX_BYTES);
    expect(decodeRestoreRecord(bytes).members).toEqual(members);
  });

  test('one that readers would not take is not written', () => {
    const names = Array.from({ length: 16 }, (_, index) => ({
      id: `${index + 1}`.replace(/0/g, 'a'),
      name: `${index}`.padEnd(400, 'x'),
      peerUrls: ['http://h:1', 'http://i:1'.padEnd(400, '0')],
    }));
    expect(() => encodeRestoreRecord(sampleRestore({ members: names }))).toThrow(expect.objectContaining({ code: 'manifest-too-long' }));
    expect(() => encodeRestoreRecord(sampleRestore({ hash: -1 }))).toThrow(/hash is -1/);
  });

  test.each([
    [{ schema: 0 }, 'schema is 0, expected 1'],
    [{ clusterId: '0xcd' }, 'clusterId is "0xcd"'],
    [{ members: [] }, 'members is a list of 0'],
    [{ members: [whole.members[0], { ...whole.members[1], id: '1f' }] }, 'each id once'],
    [{ members: [whole.members[0], { ...whole.members[1], name: 'm2' }] }, 'each name once'],
    [{ members: [{ ...whole.members[0], peerUrls: [] }] }, 'members[0].peerUrls is a list of 0'],
    [{ revision: '1.5' }, 'revision is "1.5"'],
    [{ compactRevision: '1000000042' }, 'expected at most the revision 1000000041'],
    [{ hash: 2 ** 32 }, 'expected a HashKV of 32 bits'],
    [{ filtered: false }, 'filtered is false'],
    [{ builder: 'hand' }, 'builder is "hand"'],
    [
      { source: { backup: '20261122T100000123Z-k3f9qa', databaseSha256: 'b'.repeat(64) } },
      'expected backup, cluster and lineage, or none of them',
    ],
    [{ token: 'two\nlines' }, 'token is "two\\nlines"'],
  ])('%j is refused', (fields, sentence) => {
    expect(() => decodeRestoreRecord(json({ ...whole, ...fields }))).toThrow(sentence);
  });

  test('fields that a newer version added are passed over; a newer schema is named as such', () => {
    expect(decodeRestoreRecord(json({ ...whole, mood: 'good' }))).toEqual(whole);
    expect(() => decodeRestoreRecord(json({ schema: 2, shape: 'another' }))).toThrow(
      expect.objectContaining({ code: 'newer-schema', hint: expect.stringContaining('the version of etcd-warden') }),
    );
    expect(() => decodeRestoreRecord(Buffer.from(`${JSON.stringify(whole)}${' '.repeat(RESTORE_RECORD_MAX_BYTES)}`))).toThrow(
      /at most 8192/,
    );
    expect(() => decodeRestoreRecord(Buffer.alloc(2 ** 20, 0x20))).toThrow(/at most 8192/);
  });

  test('whatever the bytes are, the only errors are those that are documented', () => {
    const hostile = fc.oneof(
      fc.tuple(fc.constantFrom(...Object.keys(whole)), fc.jsonValue()).map(([name, value]) => json({ ...whole, [name]: value })),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          decodeRestoreRecord(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(WardenError);
          expect((error as WardenError).code).toMatch(/^(manifest-invalid|newer-schema)$/);
        }
      }),
      { numRuns: 60 },
    );
  });
});

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
