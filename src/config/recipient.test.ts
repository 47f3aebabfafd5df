import * as age from 'age-encryption';
import { describe, expect, test } from 'vitest';
import { isRecipient } from './recipient.ts';

describe('recipients of age', () => {
  test('every key that age-encryption makes is one, of both kinds', async () => {
    for (let round = 0; round < 5; round += 1) {
      expect(isRecipient(await age.identityToRecipient(await age.generateX25519Identity()))).toBe(true);
    }
    expect(isRecipient(await age.identityToRecipient(await age.generateHybridIdentity()))).toBe(true);
  });

  test('a key with one letter changed, swapped, missing or added is none', async () => {
    const key = await age.identityToRecipient(await age.generateX25519Identity());
    for (let at = 4; at < key.length; at += 1) {
      const other = key[at] === 'q' ? 'p' : 'q';
      expect(isRecipient(key.slice(0, at) + other + key.slice(at + 1))).toBe(false);
    }
    expect(isRecipient(key.slice(0, -1))).toBe(false);
    expect(isRecipient(`${key}q`)).toBe(false);
    expect(isRecipient(key.toUpperCase())).toBe(false);
  });

  test('what is no key at all is none', async () => {
    expect(
      ['', 'age1', 'age', '1', 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4', '__proto__1qqqqqq', await age.generateX25519Identity()].some(
        isRecipient,
      ),
    ).toBe(false);
  });
});
