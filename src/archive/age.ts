/**
 * The header of an age file: who may open it. The format is age-encryption.org/v1 (C2SP age.md); stanzas are made and opened by the
 * age-encryption package, the payload is our own (age-payload.ts), because the package reaches 100 MB/s and node:crypto five times that.
 * The package is loaded only when something is encrypted.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import { asError, WardenError } from '../errors.ts';

export const AGE_MAGIC = 'age-encryption.org/v1\n';

/** Random bytes after the header, from which, with the file key, the payload's key is derived. */
export const PAYLOAD_NONCE_LENGTH = 16;

/** A header is some 200 bytes per recipient, 1.7 KiB for the post-quantum kind. What claims more is no age file. */
export const MAX_HEADER_LENGTH = 256 * 2 ** 10;

/** What is needed to open one age file: stays in memory, never in a log, a manifest or a message. */
export interface AgeKey {
  readonly payloadKey: Buffer;
  /** Bytes before the first payload chunk: header and nonce. */
  readonly headerLength: number;
}

/**
 * Recipients (`age1...`), checked one by one before anything is written for them.
 * @throws WardenError `config-invalid` naming the first that is not one.
 */
export async function checkRecipients(recipients: readonly string[]): Promise<void> {
  const { Encrypter } = await import('age-encryption');
  for (const recipient of recipients) {
    try {
      new Encrypter().addRecipient(recipient);
    } catch (error) {
      throw new WardenError('config-invalid', `not an age recipient: ${JSON.stringify(recipient)}`, {
        hint: secretInsteadOfRecipient(recipient) ?? 'a recipient is the public line that age-keygen prints, beginning with age1',
        cause: error,
      });
    }
  }
}

/**
 * Identities from the text of an identity file as age-keygen writes it: one a line, empty lines and `#` comments between them.
 * @param origin where it was read, for the error: the identity itself is never shown.
 * @throws WardenError `key-missing`
 */
export async function parseIdentities(text: string, origin: string): Promise<string[]> {
  const { Decrypter } = await import('age-encryption');
  const identities: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    try {
      new Decrypter().addIdentity(line);
    } catch {
      throw new WardenError('key-missing', `line ${index + 1} of ${origin} is not an age identity`, {
        hint: 'an identity is a line that begins with AGE-SECRET-KEY-1; SSH keys and encrypted identity files are not supported',
      });
    }
    identities.push(line);
  }
  if (identities.length === 0)
    throw new WardenError('key-missing', `${origin} holds no age identity`, { hint: 'age-keygen -o FILE makes one' });
  return identities;
}

/** A header for the recipients, with the nonce that follows it, and the key of the payload to come. @throws WardenError `config-invalid` */
export async function createHeader(recipients: readonly string[]): Promise<{ readonly header: Buffer; readonly key: AgeKey }> {
  await checkRecipients(recipients);
  const { Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  let fileKey: Buffer | undefined;
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = Buffer.from(key);
      return []; // no stanza: we only look
    },
  });
  const empty = Buffer.from(await encrypter.encrypt(new Uint8Array(0)));
  const text = empty.subarray(0, headerEnd(empty));
  const nonce = randomBytes(PAYLOAD_NONCE_LENGTH); // a new one: the package has used its own for an empty payload under the same file key
  const header = Buffer.concat([text, nonce]);
  return { header, key: payloadKey(fileKey!, nonce, header.length) };
}

/**
 * Opens a header with the first identity that fits.
 * @param start the first bytes of the file, up to {@link MAX_HEADER_LENGTH} or its end.
 * @throws WardenError `key-missing` when there is no identity or none fits, `verification-failed` when the header is damaged.
 */
export async function openHeader(start: Buffer, identities: readonly string[]): Promise<AgeKey> {
  if (identities.length === 0) {
    throw new WardenError('key-missing', 'the object is encrypted with age, and no identity is configured', {
      hint: 'give --identity-file (encryption.identityFile in the configuration): the file with the AGE-SECRET-KEY-1 line of one of its recipients',
    });
  }
  const end = headerEnd(start);
  if (end === undefined || start.length < end + PAYLOAD_NONCE_LENGTH) throw headerDamaged('it has no end');
  const { Decrypter } = await import('age-encryption');
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  let fileKey: Uint8Array;
  try {
    fileKey = await decrypter.decryptHeader(start.subarray(0, end));
  } catch (error) {
    if (asError(error).message.startsWith('no identity matched')) {
      throw new WardenError(
        'key-missing',
        identities.length === 1
          ? 'the configured age identity does not open the object'
          : `none of the ${identities.length} configured age identities opens the object`,
        {
          hint: 'it was encrypted to other recipients, perhaps before keys were rotated: keep old identities beside the new one',
          cause: error,
        },
      );
    }
    throw headerDamaged(asError(error).message, error);
  }
  return payloadKey(fileKey, start.subarray(end, end + PAYLOAD_NONCE_LENGTH), end + PAYLOAD_NONCE_LENGTH);
}

/** Whether the bytes begin as an age file does. */
export function isAge(start: Buffer): boolean {
  return start.toString('latin1', 0, AGE_MAGIC.length) === AGE_MAGIC;
}

/** Where the header's text ends: after the line that begins with `---` and carries the MAC. */
function headerEnd(start: Buffer): number | undefined {
  const footer = start.indexOf('\n--- ');
  const end = footer === -1 ? -1 : start.indexOf('\n', footer + 1);
  return end === -1 ? undefined : end + 1;
}

/** age.md, "Payload": HKDF-SHA-256 of the file key, salted with the nonce. */
function payloadKey(fileKey: Uint8Array, nonce: Buffer, headerLength: number): AgeKey {
  return { payloadKey: Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32)), headerLength };
}

function secretInsteadOfRecipient(recipient: string): string | undefined {
  return recipient.startsWith('AGE-SECRET-KEY') ? 'this is a secret key: `age-keygen -y` prints its recipient' : undefined;
}

function headerDamaged(why: string, cause?: unknown): WardenError {
  return new WardenError('verification-failed', `the age header is damaged: ${why}`, { cause });
}
