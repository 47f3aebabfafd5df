import { describe, expect, test } from 'vitest';
import { newCluster, parseInitialCluster } from '../identity.ts';
import { goString, memberJson } from './member-json.ts';
import { encodeSnap, snapFileName } from './snap.ts';
import { encodeWal } from './wal.ts';
import { varint } from './wire.ts';

const cluster = newCluster(parseInitialCluster('m1=http://a:1'), 't');
const [member] = cluster.members as [(typeof cluster.members)[number]];

describe('the log of a restored member', () => {
  test('differs between releases in what they leave out', () => {
    const [of34, of35, of36, of37] = (['3.4', '3.5', '3.6', '3.7'] as const).map((minor) => encodeWal(member, cluster, minor));
    expect(of36).toEqual(of35);
    expect(of34!.length).toBeLessThan(of35!.length);
    expect(of37).not.toEqual(of36);
  });

  test('consists of frames of a multiple of eight bytes whose length fields lead from one to the next', () => {
    const wal = encodeWal(member, cluster, '3.6');
    const types: number[] = [];
    for (let at = 0; at < wal.length;) {
      const field = wal.readBigUInt64LE(at);
      const padding = Number(field >> 56n) & 0x7f;
      types.push(wal[at + 9]!);
      at += 8 + Number(field & 0xff_ffff_ffff_ffffn) + padding;
      expect(at % 8).toBe(0);
      expect(wal.subarray(at - padding, at).every((byte) => byte === 0)).toBe(true);
    }
    expect(types).toEqual([4, 1, 5, 2, 3, 5]); // crc, metadata, snapshot 0, one member, hard state, snapshot 1
  });

  test('names the member that it is for', () => {
    const two = newCluster(parseInitialCluster('m1=http://a:1,m2=http://b:1'), 't');
    const [first, second] = two.members.map((each) => encodeWal(each, two, '3.5'));
    expect(first).not.toEqual(second);
    expect(first!.length).toBe(second!.length);
  });
});

describe('the .snap file', () => {
  test('is named after term and index and holds all members', () => {
    const five = newCluster(parseInitialCluster([1, 2, 3, 4, 5].map((n) => `m${n}=http://h${n}:2380`).join(',')), 't');
    expect(snapFileName(five)).toBe('0000000000000001-0000000000000005.snap');
    const text = encodeSnap(five, '3.6').toString('latin1');
    for (const { id } of five.members) expect(text).toContain(`/0/members/${id.toString(16)}/raftAttributes`);
  });
});

describe('JSON as Go writes it', () => {
  test('keeps all digits of an id', () => {
    expect(memberJson({ id: 18_446_744_073_709_551_557n, name: 'm', peerUrls: ['http://a:1', 'http://b:1'] }).toString()).toBe(
      '{"id":18446744073709551557,"peerURLs":["http://a:1","http://b:1"],"name":"m"}',
    );
  });

  test('escapes what Go escapes', () => {
    expect(goString('<&>\u2028"\\b')).toBe(String.raw`"\u003c\u0026\u003e\u2028\"\\b"`);
  });
});

test.each([
  [0, '00'],
  [127, '7f'],
  [128, '8001'],
  [2n ** 64n - 1n, 'ffffffffffffffffff01'],
])('the varint of %s is %s', (value, hex) => {
  expect(varint(value).toString('hex')).toBe(hex);
});
