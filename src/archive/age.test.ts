import { Decrypter, Encrypter, generateHybridIdentity, generateIdentity, identityToRecipient } from 'age-encryption';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { seeded } from '../../test/support/random.ts';
import { checkRecipients, createHeader, isAge, openHeader, parseIdentities } from './age.ts';
import {
  CHUNK_LENGTH,
  createPayloadSealer,
  openChunk,
  openPayload,
  payloadPlainLength,
  payloadStoredLength,
  SEALED_LENGTH,
  TAG_LENGTH,
} from './age-payload.ts';
import { ByteQueue } from './byte-queue.ts';
import { decodeBytes } from './decode.ts';

const never = new AbortController().signal;
let identity: string;
let recipient: string;
let other: string;

beforeAll(async () => {
  identity = await generateIdentity();
  recipient = await identityToRecipient(identity);
  other = await generateIdentity();
});

async function encrypt(plain: Buffer, recipients: readonly string[] = [recipient]): Promise<Buffer> {
  const { header, key } = await createHeader(recipients);
  const sealer = createPayloadSealer(key.payloadKey);
  const half = Math.floor(plain.length / 3);
  return Buffer.concat([header, ...sealer.seal(plain.subarray(0, half)), ...sealer.seal(plain.subarray(half)), ...sealer.end()]);
}

async function decrypt(sealed: Buffer, identities: readonly string[] = [identity], cut = 5000): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of decodeBytes(chunks(sealed, cut), 'x.age', { signal: never, identities })) parts.push(part);
  return Buffer.concat(parts);
}

async function* chunks(bytes: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

const LENGTHS = [0, 1, CHUNK_LENGTH - 1, CHUNK_LENGTH, CHUNK_LENGTH + 1, 2 * CHUNK_LENGTH, 3 * CHUNK_LENGTH + 17];

describe('age', () => {
  test('what we encrypt, the age-encryption package decrypts, at every length around a chunk', async () => {
    for (const length of LENGTHS) {
      const plain = seeded(length).fill(Buffer.alloc(length));
      const sealed = await encrypt(plain);
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      expect(Buffer.from(await decrypter.decrypt(sealed)).equals(plain)).toBe(true);
      expect(sealed.length).toBe((await createHeader([recipient])).header.length + payloadStoredLength(length));
    }
  });

  test('what the package encrypts, we decrypt', async () => {
    const encrypter = new Encrypter();
    encrypter.addRecipient(recipient);
    for (const length of LENGTHS) {
      const plain = seeded(length).fill(Buffer.alloc(length));
      expect((await decrypt(Buffer.from(await encrypter.encrypt(plain)))).equals(plain)).toBe(true);
    }
  });

  test('any of several recipients opens it, the post-quantum kind too', async () => {
    const hybrid = await generateHybridIdentity();
    const sealed = await encrypt(Buffer.from('secret'), [recipient, await identityToRecipient(other)]);
    expect((await decrypt(sealed, [other])).toString()).toBe('secret');
    const late = await encrypt(Buffer.from('later'), [await identityToRecipient(hybrid)]);
    expect((await decrypt(late, [other, hybrid])).toString()).toBe('later');
  });

  test('two files for the same recipients share no key', async () => {
    const [a, b] = await Promise.all([createHeader([recipient]), createHeader([recipient])]);
    expect(a.key.payloadKey.equals(b.key.payloadKey)).toBe(false);
  });

  test('fault 75: a wrong key, a missing key and a rotated key are told from damage', async () => {
    const sealed = await encrypt(Buffer.alloc(100_000, 'x'));
    await expect(decrypt(sealed, [other])).rejects.toMatchObject({
      code: 'key-missing',
      exitCode: 12,
      message: expect.stringContaining('the configured age identity does not open') as string,
    });
    await expect(decrypt(sealed, [])).rejects.toMatchObject({ code: 'key-missing', exitCode: 12 });
    expect((await decrypt(sealed, [other, identity])).length).toBe(100_000); // the old key kept beside the new one
  });

  test('fault 75: a truncated tag, swapped chunks and a chunk from another file are found', async () => {
    const plain = seeded(5).fill(Buffer.alloc(3 * CHUNK_LENGTH + 100));
    const sealed = await encrypt(plain);
    const start = sealed.length - payloadStoredLength(plain.length);
    const foreign = await encrypt(plain);
    const chunk = (file: Buffer, i: number): Buffer => file.subarray(start + i * SEALED_LENGTH, start + (i + 1) * SEALED_LENGTH);
    const head = sealed.subarray(0, start);
    const bad: Record<string, Buffer> = {
      'truncated tag': sealed.subarray(0, -1),
      'cut in a tag of the middle': Buffer.concat([
        head,
        chunk(sealed, 0).subarray(0, -3),
        chunk(sealed, 1),
        chunk(sealed, 2),
        chunk(sealed, 3),
      ]),
      'last chunk missing': sealed.subarray(0, start + 3 * SEALED_LENGTH),
      'all chunks missing': sealed.subarray(0, start),
      'swapped chunks': Buffer.concat([head, chunk(sealed, 1), chunk(sealed, 0), chunk(sealed, 2), chunk(sealed, 3)]),
      'chunk of another file': Buffer.concat([head, chunk(sealed, 0), chunk(foreign, 1), chunk(sealed, 2), chunk(sealed, 3)]),
      'something after the end': Buffer.concat([sealed, Buffer.alloc(20)]),
      'a repeated chunk': Buffer.concat([head, chunk(sealed, 0), chunk(sealed, 0), chunk(sealed, 1), chunk(sealed, 2), chunk(sealed, 3)]),
    };
    for (const file of Object.values(bad)) await expect(decrypt(file)).rejects.toMatchObject({ code: 'verification-failed', exitCode: 13 });
  });

  test('any flipped byte is an error, in the header too', async () => {
    const sealed = await encrypt(Buffer.from('short and secret'));
    for (let at = 0; at < sealed.length; at += 1) {
      const bad = Buffer.from(sealed);
      bad[at]! ^= 0x04;
      await expect(decrypt(bad), `byte ${at}`).rejects.toMatchObject({ name: 'WardenError' });
    }
  });

  test('an empty last chunk is allowed for an empty payload only', async () => {
    const { key } = await createHeader([recipient]);
    const sealer = createPayloadSealer(key.payloadKey);
    const full = Buffer.concat([...sealer.seal(Buffer.alloc(CHUNK_LENGTH + 1)), ...sealer.end()]).subarray(0, SEALED_LENGTH);
    const empty = Buffer.concat(createPayloadSealer(key.payloadKey).end());
    expect(openChunk(key.payloadKey, 0, true, empty).length).toBe(0);
    const queue = new ByteQueue(chunks(Buffer.concat([full, empty]), 1000));
    await expect(async () => {
      for await (const part of openPayload(key.payloadKey, queue)) expect(part.length).toBe(CHUNK_LENGTH);
    }).rejects.toThrow(/cut/);
  });

  test('stored and plain lengths belong to each other, and lengths that no payload has are refused', () => {
    fc.assert(fc.property(fc.nat(10 * CHUNK_LENGTH), (plain) => payloadPlainLength(payloadStoredLength(plain)) === plain));
    for (const stored of [0, 1, TAG_LENGTH - 1, SEALED_LENGTH + 1, SEALED_LENGTH + TAG_LENGTH])
      expect(() => payloadPlainLength(stored)).toThrow(/cut/);
    expect(payloadPlainLength(TAG_LENGTH)).toBe(0);
  });

  test('a header without end, or of another format, is refused', async () => {
    await expect(openHeader(Buffer.from('age-encryption.org/v1\n-> X25519 abc'), [identity])).rejects.toMatchObject({
      code: 'verification-failed',
    });
    await expect(openHeader(Buffer.from('age-encryption.org/v1\n-> \n--- AAAA\n0123456789abcdef'), [identity])).rejects.toMatchObject({
      code: 'verification-failed',
    });
    expect(isAge(Buffer.from('age-encryption.org/v1\n-> '))).toBe(true);
    expect(isAge(Buffer.from('age-encryption.org/v2\n-> '))).toBe(false);
  });

  test('recipients are checked, and a secret key among them is told apart', async () => {
    await checkRecipients([recipient]);
    await expect(checkRecipients(['age1nonsense'])).rejects.toMatchObject({
      code: 'config-invalid',
      hint: expect.stringContaining('age-keygen') as string,
    });
    await expect(checkRecipients([identity])).rejects.toMatchObject({ hint: expect.stringContaining('age-keygen -y') as string });
  });

  test('an identity file may hold comments, empty lines and several identities; errors never show one', async () => {
    const text = `# created: 2026-11-22\n# public key: ${recipient}\n${identity}\r\n\n  ${other}\n`;
    expect(await parseIdentities(text, '/etc/key')).toEqual([identity, other]);
    const broken = identity.slice(0, -1);
    const error = await parseIdentities(`\n${broken}\n`, '/etc/key').catch((thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({ code: 'key-missing', message: 'line 2 of /etc/key is not an age identity' });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(broken.slice(20));
    await expect(parseIdentities('# nothing\n', '/etc/key')).rejects.toThrow(/holds no age identity/);
  });
});
