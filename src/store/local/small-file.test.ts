import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { removeFolder, temporaryFolder } from '../../../test/support/watchdog.ts';
import { replaceSmallFile } from './small-file.ts';

let folder: string;
beforeEach(() => {
  const own = (folder = temporaryFolder('small'));
  return () => removeFolder(own);
});

test.each([true, false])(
  'makes the folder, then the file, then another in its place, for nobody else to read (synced: %s)',
  async (synced) => {
    const path = join(folder, 'state', 'deep', 'main.json');
    await replaceSmallFile(path, 'first', { synced });
    expect([statSync(path).mode & 0o777, statSync(join(folder, 'state')).mode & 0o777]).toEqual([0o600, 0o700]);
    await replaceSmallFile(path, 'second', { synced });
    expect(readFileSync(path, 'utf8')).toBe('second');
    expect(readdirSync(join(folder, 'state', 'deep'))).toEqual(['main.json']);
  },
);

test('whoever reads meanwhile finds one of them whole, however many write', async () => {
  const path = join(folder, 'main.json');
  const texts = ['a', 'b'].map((letter) => letter.repeat(200_000));
  await replaceSmallFile(path, texts[0]!, { synced: false });
  for (let round = 0; round < 20; round++) {
    const written = replaceSmallFile(path, texts[round % 2]!, { synced: false });
    expect(texts).toContain(readFileSync(path, 'utf8'));
    await written;
  }
});

test('a failure leaves what was there, and nothing beside it', async () => {
  const path = join(folder, 'main.json');
  mkdirSync(path);
  await expect(replaceSmallFile(path, 'text', { synced: true })).rejects.toMatchObject({ code: 'EISDIR' });
  expect(readdirSync(folder)).toEqual(['main.json']);
});
