import { expect, test } from 'vitest';
import { fileToDamage } from '../../test/support/bolt-damage.ts';
import { boltFile } from '../../test/support/bolt-file.ts';
import { examine, spoil } from '../../test/support/bolt-fuzz.ts';
import { seeded } from '../../test/support/random.ts';

// Longer, and over files of bbolt and etcd: test/integration/boltdb/fuzz.test.ts.
test.each([
  ['with a list of free pages', fileToDamage()],
  [
    'big-endian',
    boltFile(
      { key: Array.from({ length: 120 }, (_, i) => [`k${1000 + i}`, 'v'.repeat(i)] as const), meta: [['a', 'b']] },
      { bigEndian: true },
    ),
  ],
])('fault 9: flipped, cut and spliced files (%s) are damaged or hold as much as before', async (_, { bytes, pageSize }) => {
  const random = seeded(9);
  const sound = await examine(bytes);
  expect(sound.code).toBeUndefined();
  const outcomes: Record<string, number> = {};
  for (let round = 0; round < 50; round += 1) {
    const outcome = await examine(spoil(bytes, pageSize, random));
    // Bytes of values, of keys that stay in order and of free pages carry no checksum.
    if (outcome.code === undefined) expect(outcome, `round ${round}`).toEqual(sound);
    outcomes[outcome.code ?? 'sound'] = (outcomes[outcome.code ?? 'sound'] ?? 0) + 1;
  }
  expect(outcomes['bolt-damaged']).toBeGreaterThan(20);
});
