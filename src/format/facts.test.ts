import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { sampleAcceptance, sampleCheck, sampleRestore, seededBytes } from '../../test/support/manifests.ts';
import { decodeAcceptance, decodeCheck, encodeAcceptance, encodeCheck, FACT_MAX_BYTES } from './facts.ts';
import { acceptanceKey, checkKey } from './keys.ts';
import type { Check } from './types.ts';

const id = '20261122T100000123Z-k3f9qa';
const random = seededBytes(3);
const verify = sampleCheck({ id, kind: 'verify', outcome: 'failed', reason: 'frame 3 of 9 does not decode' });
const key = checkKey('prod', id, new Date(verify.time), 'verify', random);
const acceptance = sampleAcceptance({ reason: 'restored after the outage' });
const acceptanceAt = acceptanceKey('prod', new Date(acceptance.time), 'accept', random);

describe('checks', () => {
  test('what was written is read back', () => {
    const drill = { level: 'started', recoveryMs: 1500, revision: '7', keyCount: 3, sampled: 2, etcd: '3.6.16' } as const;
    const drilled = sampleCheck({ id, kind: 'drill', store: 'local', outcome: 'ok', drill });
    for (const check of [verify, sampleCheck({ id, kind: 'hold' }), drilled]) {
      expect(decodeCheck(encodeCheck(check), checkKey('prod', id, new Date(check.time), check.kind, random))).toEqual(check);
    }
  });

  test('a reason of any text is made to fit', () => {
    const check = { ...verify, reason: `line one\nline two ${'x'.repeat(900)}` };
    expect(decodeCheck(encodeCheck(check), key).reason).toMatch(/^line one line two x+\.\.\.$/);
  });

  test.each([
    [{ store: undefined }, 'store is missing'],
    [{ level: undefined }, 'level is missing'],
    [{ outcome: undefined }, 'outcome is missing'],
    [{ kind: 'drill', outcome: undefined }, 'outcome is missing'],
    [{ kind: 'drill', store: undefined }, 'store is missing'],
    [{ kind: 'drill', drill: { level: 'dreamt' } }, 'drill.level is "dreamt"'],
    [{ kind: 'bless' }, 'kind is "bless"'],
    [{ schema: 2 }, 'schema is 2, expected 1'],
  ])('%j is refused', (fields, sentence) => {
    const bytes = Buffer.from(JSON.stringify({ ...verify, ...fields }));
    expect(() => decodeCheck(bytes, key)).toThrow(sentence);
  });

  test('what readers would not accept is not written', () => {
    const { outcome: _, ...without } = verify;
    expect(() => encodeCheck(without)).toThrow(/outcome is missing/);
  });

  test('one that was copied to another backup, time or kind is refused', () => {
    const bytes = encodeCheck(verify);
    const other = '20261122T100000123Z-aaaaaa';
    for (const wrong of [
      checkKey('prod', other, new Date(verify.time), 'verify', random),
      checkKey('prod', id, new Date(0), 'verify', random),
      checkKey('prod', id, new Date(verify.time), 'hold', random),
      acceptanceAt,
      'foreign',
    ]) {
      expect(() => decodeCheck(bytes, wrong)).toThrow(/it was copied or renamed/);
    }
  });

  test('one that is too long is not even parsed', () => {
    expect(() => decodeCheck(Buffer.alloc(FACT_MAX_BYTES + 1, 0x20), key)).toThrow(/at most 4096 bytes/);
  });

  test('whatever the bytes are, the only error is the one that is documented', () => {
    fc.assert(
      fc.property(fc.constantFrom<keyof Check>('kind', 'id', 'time', 'level', 'reason'), fc.jsonValue(), (name, value) => {
        for (const decode of [
          () => decodeCheck(json({ ...verify, [name]: value }), key),
          () => decodeAcceptance(json({ ...acceptance, [name]: value }), acceptanceAt),
        ]) {
          try {
            decode();
          } catch (error) {
            expect(error).toBeInstanceOf(WardenError);
            expect(error).toMatchObject({ code: 'manifest-invalid' });
          }
        }
      }),
    );
  });
});

describe('acceptances', () => {
  test('what was written is read back', () => {
    expect(decodeAcceptance(encodeAcceptance(acceptance), acceptanceAt)).toEqual(acceptance);
  });

  test('that of a restore carries its record', () => {
    const restore = sampleRestore();
    const announced = sampleAcceptance({ kind: 'restore', clusterId: restore.clusterId, restore });
    const at = acceptanceKey('prod', new Date(announced.time), 'restore', random);
    expect(decodeAcceptance(encodeAcceptance(announced), at)).toEqual(announced);
    const { restore: _, ...bare } = announced;
    // A record of a newer version says things that this one does not know: the acceptance counts without it.
    expect(decodeAcceptance(json({ ...announced, restore: { schema: 2, shape: 'another' } }), at)).toEqual(bare);
    expect(decodeAcceptance(json(bare), at)).toEqual(bare);
    expect(() => encodeAcceptance({ ...announced, clusterId: 'c' })).toThrow(
      /restore.clusterId is "b0c4e1f2a3d4c5b6", expected the cluster id c/,
    );
    expect(() => encodeAcceptance({ ...announced, kind: 'accept' })).toThrow(/expected nothing in an acceptance of kind accept/);
    expect(() => encodeAcceptance({ ...announced, restore: { ...restore, members: [] } })).toThrow(/restore.members is a list of 0/);
  });

  test('one under the wrong name is refused', () => {
    for (const wrong of [
      acceptanceKey('prod', new Date(0), 'accept', random),
      acceptanceKey('prod', new Date(acceptance.time), 'restore', random),
      key,
    ]) {
      expect(() => decodeAcceptance(encodeAcceptance(acceptance), wrong)).toThrow(/it was copied or renamed/);
    }
  });
});

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
