import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { removeFolder, temporaryFolder } from '../../test/support/watchdog.ts';
import type { DrillSurvey } from '../jobs/types.ts';
import { drillMemoryFile, joined } from './drill-memory.ts';

const sound = {
  atMs: 5,
  id: 'x',
  outcome: 'ok',
  level: 'started',
  reason: undefined,
  recoveryMs: 7,
  keyCount: 1,
  sampled: 1,
  etcd: '3.6.16',
} as const;
const entry: DrillSurvey = { store: 'local', firstMs: 1, last: sound, sound, failed: undefined };

describe('the memory of drills', () => {
  test('what was written is read back', async () => {
    const folder = temporaryFolder('drill-memory');
    const file = drillMemoryFile(folder, 'prod');
    expect(await file.read()).toEqual({ memory: new Map(), rebuilt: undefined });
    await file.write(new Map([['local', entry]]));
    expect(await file.read()).toEqual({ memory: new Map([['local', entry]]), rebuilt: undefined });
    removeFolder(folder);
  });

  test.each([
    ['torn', (text: string) => text.slice(0, -9)],
    ['of another cluster', (text: string) => text.replace('prod', 'test')],
    ['of a newer version', (text: string) => text.replace('"schema":1', '"schema":2')],
    ['no object', () => '7'],
    ['too long', () => ' '.repeat(300_000)],
  ])('a file that is %s starts it anew, and says so', async (_what, spoil) => {
    const folder = temporaryFolder('drill-memory');
    const path = join(folder, 'drills', 'prod.json');
    await drillMemoryFile(folder, 'prod').write(new Map([['local', entry]]));
    writeFileSync(path, spoil(readFileSync(path, 'utf8')));
    const { memory, rebuilt } = await drillMemoryFile(folder, 'prod').read();
    expect(memory.size).toBe(0);
    expect(rebuilt).toContain('damaged or of another version');
    removeFolder(folder);
  });

  test('one that cannot be read starts it anew; one that cannot be written leaves nothing behind', async () => {
    const folder = temporaryFolder('drill-memory');
    mkdirSync(join(folder, 'drills', 'prod.json'), { recursive: true });
    const file = drillMemoryFile(folder, 'prod');
    expect((await file.read()).rebuilt).toContain('cannot be read');
    await expect(file.write(new Map())).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
    removeFolder(folder);
  });

  test('of two stories the newer drills count, and the earlier first backup', () => {
    const later = { ...sound, atMs: 9, outcome: 'failed' } as const;
    const other: DrillSurvey = { store: 'local', firstMs: 3, last: later, sound: undefined, failed: later };
    const both = { store: 'local', firstMs: 1, last: later, sound, failed: later };
    expect(joined(entry, other)).toEqual(both);
    expect(joined(other, entry)).toEqual(both);
    expect(joined(undefined, entry)).toEqual(entry);
    expect(joined({ ...entry, firstMs: undefined }, { ...entry, firstMs: undefined }).firstMs).toBeUndefined();
  });
});
