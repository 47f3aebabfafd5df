import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { asError, type WardenError } from '../errors.ts';
import { decodeBytes } from './decode.ts';

const folder = join(import.meta.dirname, '../../test/vectors/age');
const { signal } = new AbortController();

interface Vector {
  readonly expect: string;
  readonly payload: string | undefined;
  readonly identities: readonly string[];
  readonly file: Buffer;
}

/** Lines of `key: value`, an empty line, the age file. */
function readVector(name: string): Vector {
  const bytes = readFileSync(join(folder, name));
  const end = bytes.indexOf('\n\n');
  const fields = bytes
    .toString('latin1', 0, end)
    .split('\n')
    .map((line): [string, string] => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]);
  const values = (key: string): string[] => fields.filter(([each]) => each === key).map(([, value]) => value);
  const rest = bytes.subarray(end + 2);
  return {
    expect: values('expect')[0]!,
    payload: values('payload')[0],
    identities: values('identity'),
    file: values('compressed')[0] === 'zlib' ? inflateSync(rest) : rest,
  };
}

async function* inChunks(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_007) yield bytes.subarray(at, at + 10_007);
}

const CODES: Readonly<Record<string, string | undefined>> = {
  success: undefined,
  'no match': 'key-missing',
  'HMAC failure': 'verification-failed',
  'header failure': 'verification-failed',
  'payload failure': 'verification-failed',
};

describe('test vectors of age', () => {
  test.each(readdirSync(folder))('%s', async (name) => {
    const vector = readVector(name);
    const hash = createHash('sha256');
    let failure: WardenError | undefined;
    try {
      for await (const plain of decodeBytes(inChunks(vector.file), 'vector.age', { signal, identities: vector.identities }))
        hash.update(plain);
    } catch (error) {
      failure = asError(error) as WardenError;
    }
    expect(Object.keys(CODES)).toContain(vector.expect);
    expect(failure?.code, failure?.message).toBe(CODES[vector.expect]);
    // Where the last chunk is not marked as the last, the reference gives out its bytes and fails behind them. We fail before them.
    if (vector.expect === 'success') expect(hash.digest('hex')).toBe(vector.payload);
  });
});
