/**
 * Is a text a recipient of age? Only the spelling is looked at, so that `config check` needs no cryptography: bech32 (BIP 173) without its
 * 90-character limit, as in C2SP's age.md. The encryption itself is done by age-encryption in src/archive.
 */
const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];

/** Bytes of the public key by prefix: X25519, and the hybrid of ML-KEM-768 with X25519. */
const KEY_LENGTHS: Readonly<Record<string, number>> = { age: 32, age1pq: 1216 };

export function isRecipient(text: string): boolean {
  const separator = text.lastIndexOf('1');
  const prefix = text.slice(0, separator);
  const length = Object.hasOwn(KEY_LENGTHS, prefix) ? KEY_LENGTHS[prefix] : undefined;
  if (length === undefined) return false;
  const words = Array.from(text.slice(separator + 1), (letter) => ALPHABET.indexOf(letter));
  if (words.includes(-1) || words.length !== Math.ceil((length * 8) / 5) + 6) return false;
  const expanded = [
    ...Array.from(prefix, (letter) => letter.charCodeAt(0) >> 5),
    0,
    ...Array.from(prefix, (letter) => letter.charCodeAt(0) & 31),
  ];
  // The bits that fill up the last word of the key must be zero.
  const padding = (5 - ((length * 8) % 5)) % 5;
  return polymod([...expanded, ...words]) === 1 && (words.at(-7)! & ((1 << padding) - 1)) === 0;
}

function polymod(words: readonly number[]): number {
  let check = 1;
  for (const word of words) {
    const top = check >>> 25;
    check = ((check & 0x1ffffff) << 5) ^ word;
    for (const [bit, value] of GENERATOR.entries()) if ((top >>> bit) & 1) check ^= value;
  }
  return check >>> 0;
}
