import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { sampleManifest } from '../../test/support/manifests.ts';
import { manifestKey } from './keys.ts';
import { decodeManifest, encodeManifest, MANIFEST_FIELDS, MANIFEST_MAX_BYTES } from './manifest.ts';
import { TEXT_LENGTH } from './shape.ts';
import type { Manifest } from './types.ts';

const full = sampleManifest({
  label: 'before upgrade',
  parent: '20261122T090000000Z-aaaaaa',
  keyCount: 3,
  proof: { revision: '41', compactRevision: '12', hash: 4_294_967_295, members: ['m1'] },
  disagreement: { members: ['m2'], reason: 'm2 differs from m1' },
  unproved: { code: 'no-root', reason: 'the user lacks the role root' },
  imported: { name: 'snapshot.db', sha256: 'e'.repeat(64), modified: '2026-11-22T09:00:00.000Z', members: 3 },
  suspect: 'alarm CORRUPT on m2',
  signature: 'reserved',
});

/** The manifest as parsed JSON with one value replaced (or taken out), as bytes. */
function altered(path: string, value: unknown): Buffer {
  const json = JSON.parse(encodeManifest(full).toString()) as Record<string, unknown>;
  const steps = path.split('.');
  let at = json;
  for (const step of steps.slice(0, -1)) at = at[step] as Record<string, unknown>;
  if (value === undefined) delete at[steps.at(-1)!];
  else at[steps.at(-1)!] = value;
  return Buffer.from(JSON.stringify(json));
}

describe('manifest', () => {
  test('what was written is read back, with and without the optional fields', () => {
    for (const manifest of [full, sampleManifest()]) {
      expect(decodeManifest(encodeManifest(manifest), manifestKey('prod', manifest.id, '41'))).toEqual({ kind: 'manifest', manifest });
    }
  });

  test('fields are always written in the same order, whatever order they come in', () => {
    const shuffled = Object.fromEntries(Object.entries(full).reverse()) as unknown as Manifest;
    expect(encodeManifest(shuffled)).toEqual(encodeManifest(full));
    expect(Object.keys(JSON.parse(encodeManifest(full).toString()) as object)).toEqual(Object.keys(MANIFEST_FIELDS));
  });

  test('an object under the name of another cluster, backup or revision is refused', () => {
    const bytes = encodeManifest(full);
    expect(() => decodeManifest(bytes, manifestKey('other', full.id, '41'))).toThrow(/expected the manifest of other\//);
    expect(() => decodeManifest(bytes, manifestKey('prod', '20261122T090000000Z-aaaaaa', '41'))).toThrow(/expected the manifest of/);
    expect(() => decodeManifest(bytes, manifestKey('prod', full.id, '42'))).toThrow(/\.r42\.json/);
  });

  test('a newer schema is recognised as such, even where nothing else is as we know it', () => {
    expect(decodeManifest(Buffer.from('{"schema":2,"id":{}}'))).toEqual({ kind: 'newer-schema', schema: 2 });
    expect(decodeManifest(Buffer.from(JSON.stringify({ schema: 3, more: 'x'.repeat(20_000) })))).toEqual({
      kind: 'newer-schema',
      schema: 3,
    });
  });

  test('fields that a later version of the same schema adds are passed over', () => {
    expect(decodeManifest(altered('added', { later: true }))).toEqual({ kind: 'manifest', manifest: full });
  });

  test.each([
    ['schema', 0, 'schema is 0, expected 1 or more'],
    ['schema', '1', 'schema is "1", expected a whole number'],
    ['tool', undefined, 'tool is missing'],
    ['id', '20260231T100000123Z-k3f9qa', 'the id of a backup'],
    ['cluster', '../etc', 'cluster is "../etc", expected a name'],
    ['time', '2026-11-22T10:00:00Z', 'expected a time such as'],
    ['time', '+012026-11-22T10:00:00.123Z', 'expected a time such as'],
    ['time', '2026-99-22T10:00:00.123Z', 'expected a time such as'],
    ['time', '2026-11-22T10:00:00.124Z', `expected the time in the id ${full.id}`],
    ['label', 'two\nlines', 'label is "two\\nlines", expected one line'],
    ['label', '\u001b[2J', 'expected one line'],
    ['label', '\u009b2J', 'label is "?2J", expected one line'],
    ['label', 'x'.repeat(TEXT_LENGTH + 1), 'xxx..., expected one line'],
    ['clusterId', 'CDF8', 'clusterId is "CDF8", expected a 64-bit id'],
    ['clusterId', '0cdf', '64-bit id as lower-case hex without padding'],
    ['lineage', 'short', '16 lower-case base32'],
    ['parent', '', 'parent is ""'],
    ['member', null, 'member is null, expected an object'],
    ['member', [], 'member is a list of 0, expected an object'],
    ['member.role', 'king', 'member.role is "king", expected leader, follower, learner'],
    ['raftTerm', 7, 'raftTerm is 7, expected a 64-bit number as a decimal string'],
    ['revision', '9223372036854775808', 'expected a 64-bit number'],
    ['marks', {}, 'marks is an object, expected a list of at most 4'],
    ['marks', [{}], 'marks[0].time is missing'],
    ['plain.bytes', -1, 'plain.bytes is -1, expected a whole number'],
    ['plain.bytes', 0.5, 'plain.bytes is 0.5'],
    ['plain.bytes', 2 ** 53, 'plain.bytes is 9007199254740992'],
    ['plain.sha256', 'A'.repeat(64), 'a SHA-256'],
    ['stored.crc32', '123', 'a CRC32'],
    ['stored.compression', 'lz4', 'stored.compression is "lz4", expected zstd-seekable'],
    ['stored.encryption', 'rot13', 'expected none, age'],
    ['proof.members', Array(17).fill('m'), 'a list of at most 16'],
    ['stores', [], 'stores is a list of 0, expected at least one store'],
    ['warnings', true, 'warnings is true'],
  ])('a wrong %s (%j) is named with what was expected', (path, value, sentence) => {
    const bytes = altered(path, value);
    let message = '';
    try {
      decodeManifest(bytes);
    } catch (error) {
      expect(error).toMatchObject({ code: 'manifest-invalid' });
      message = (error as WardenError).message;
    }
    expect(message).toContain(sentence);
  });

  test('fields of an object in disguise do not come from its prototype', () => {
    expect(() => decodeManifest(Buffer.from('{"schema":1,"__proto__":{"tool":"x"},"constructor":1}'))).toThrow(/tool is missing/);
  });

  test.each([
    ['nothing', ''],
    ['half an object', '{"schema":'],
    ['a byte order mark', '\ufeff{}'],
    ['a list', '[]'],
    ['a number', '1'],
  ])('%s is refused', (_, body) => {
    expect(() => decodeManifest(Buffer.from(body))).toThrow(WardenError);
  });

  test('bytes that are not UTF-8 are refused', () => {
    expect(() => decodeManifest(Buffer.from([0x22, 0xff, 0x22]))).toThrow(/3 bytes that are not JSON/);
  });

  test('a manifest of more than 8 KiB is refused', () => {
    expect(() => decodeManifest(Buffer.concat([encodeManifest(full), Buffer.alloc(MANIFEST_MAX_BYTES, 0x20)]))).toThrow(
      /expected at most 8192 bytes/,
    );
  });

  test('fault 36: whatever the bytes are, the only error is the one that is documented', () => {
    const good = encodeManifest(full);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, byte, length) => {
        const bytes = Buffer.from(good);
        bytes[at] = byte;
        onlyDocumented(bytes);
        onlyDocumented(bytes.subarray(0, length));
      }),
      { numRuns: 500 },
    );
    const names = fc.constantFrom(...Object.keys(MANIFEST_FIELDS), '__proto__');
    fc.assert(
      fc.property(names, fc.jsonValue(), (name, value) => onlyDocumented(Buffer.from(JSON.stringify({ ...full, [name]: value })))),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => onlyDocumented(bytes)));
  });
});

describe('writing a manifest', () => {
  test('whatever texts come in from outside, what is written can be read', () => {
    const anyText = fc.string({ unit: 'binary', maxLength: 600 });
    fc.assert(
      fc.property(anyText, anyText, fc.array(anyText, { maxLength: 20 }), (label, name, warnings) => {
        const bytes = encodeManifest({
          ...full,
          label,
          member: { ...full.member!, name },
          warnings: warnings.map((message) => ({ code: 'some', message })),
        });
        expect(bytes.length).toBeLessThanOrEqual(MANIFEST_MAX_BYTES);
        expect(decodeManifest(bytes)).toMatchObject({ kind: 'manifest' });
      }),
    );
  });

  test('warnings that do not fit are counted, not lost in silence', () => {
    const warnings = Array.from({ length: 60 }, (_, index) => ({ code: 'slow', message: `${index} ${'é'.repeat(500)}` }));
    const read = decodeManifest(encodeManifest({ ...full, warnings }));
    const written = read.kind === 'manifest' ? read.manifest.warnings : [];
    const last = written.at(-1)!;
    expect(last.code).toBe('more-warnings');
    expect(written.length).toBeGreaterThan(3);
  });

  test('a text is never cut in the middle of a character', () => {
    const read = decodeManifest(encodeManifest({ ...full, label: `${'x'.repeat(TEXT_LENGTH - 4)}😀😀😀😀` }));
    expect(read).toMatchObject({ manifest: { label: `${'x'.repeat(TEXT_LENGTH - 4)}...` } });
  });

  test('what readers would not accept is not written', () => {
    expect(() => encodeManifest({ ...full, revision: '-1' })).toThrow(/revision is "-1"/);
    expect(() => encodeManifest({ ...full, time: '2026-11-22T10:00:00.000Z' })).toThrow(/the time in the id/);
  });

  test('one that cannot be made to fit is refused with a hint', () => {
    const long = '漢'.repeat(TEXT_LENGTH);
    const huge = {
      ...full,
      tool: long,
      label: long,
      etcdVersion: long,
      suspect: long,
      signature: long,
      member: { ...full.member!, name: long, endpoint: long },
    };
    expect(() => encodeManifest(huge)).toThrow(/at most 8192 are allowed/);
  });
});

function onlyDocumented(bytes: Uint8Array): void {
  try {
    decodeManifest(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(WardenError);
    expect(error).toMatchObject({ code: 'manifest-invalid' });
  }
}
