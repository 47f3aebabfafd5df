import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EMPTY_MEMORY, type SlotMemory } from './slots.ts';
import { stateFile } from './state.ts';

const MEMORY: SlotMemory = { handled: [[1_795_000_000_000, 1_795_000_600_000]], lastDueMs: 1_795_000_600_000, pending: undefined };

describe('the state file', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'state-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  test('what was written is read back, and only the file itself is left in the folder', async () => {
    const file = stateFile(folder, 'prod');
    await file.write(MEMORY);
    await file.write(MEMORY);
    expect(await file.read()).toEqual({ memory: MEMORY, rebuilt: undefined });
    expect(readdirSync(join(folder, 'schedule'))).toEqual(['prod.json']);
  });

  test('no file is an empty memory, and nothing to report', async () => {
    expect(await stateFile(folder, 'prod').read()).toEqual({ memory: EMPTY_MEMORY, rebuilt: undefined });
  });

  test.each([
    ['zero length', ''],
    ['truncated', '{"schema":1,"cluster":"prod","hand'],
    ['random bytes', '\u0000\u0007\ufffd\u0012garbage'],
    ['valid JSON of the wrong shape', '[1,2,3]'],
    ['a range that is none', '{"schema":1,"cluster":"prod","handled":[[5]],"lastDueMs":null}'],
    ['a range that runs backwards', '{"schema":1,"cluster":"prod","handled":[[5,4]],"lastDueMs":null}'],
    ['a time that no Date can hold', '{"schema":1,"cluster":"prod","handled":[],"lastDueMs":1e300}'],
    ['a newer schema', '{"schema":2,"cluster":"prod","handled":[],"lastDueMs":null}'],
    ['another cluster', '{"schema":1,"cluster":"test","handled":[],"lastDueMs":null}'],
    ['far too long', `{"schema":1,"cluster":"prod","handled":[],"lastDueMs":null}${' '.repeat(70_000)}`],
  ])('fault 26: a state file that is %s is rebuilt, and the daemon starts', async (_, text) => {
    const file = stateFile(folder, 'prod');
    await file.write(MEMORY);
    writeFileSync(join(folder, 'schedule', 'prod.json'), text);
    const { memory, rebuilt } = await file.read();
    expect(memory).toEqual(EMPTY_MEMORY);
    expect(rebuilt).toContain('prod.json is damaged or of another version');
    await file.write(MEMORY);
    expect((await file.read()).memory).toEqual(MEMORY);
  });
});
