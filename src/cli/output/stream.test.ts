import { describe, expect, test } from 'vitest';
import { recordedOutput } from '../../../test/support/recorded-output.ts';
import { WardenError } from '../../errors.ts';
import { jsonText } from './json.ts';
import { streamJson, streamTable } from './stream.ts';

describe('a JSON document that is written while its elements come', () => {
  test.each([0, 1, 3])('is one document with %i elements', async (count) => {
    const output = recordedOutput();
    const code = await streamJson(output, { a: { b: 1 } }, 'list', async (add) => {
      for (let i = 0; i < count; i += 1) await add({ i });
      return { count };
    });
    expect(code).toBe(0);
    expect(JSON.parse(output.printed.join(''))).toEqual({ a: { b: 1 }, list: Array.from({ length: count }, (_, i) => ({ i })), count });
  });

  test('stays one without anything around the list', async () => {
    const output = recordedOutput();
    await streamJson(output, {}, 'list', async (add) => {
      await add(1);
      return {};
    });
    expect(JSON.parse(output.printed.join(''))).toEqual({ list: [1] });
  });

  test('stays one when it fails in the middle: the error stands behind what came, with its exit code', async () => {
    const output = recordedOutput();
    const code = await streamJson(output, { a: 1 }, 'list', async (add) => {
      await add(1);
      throw new WardenError('bolt-damaged', 'page 3');
    });
    expect(code).toBe(13);
    expect(JSON.parse(output.printed.join(''))).toEqual({ a: 1, list: [1], error: { code: 'bolt-damaged', message: 'page 3' } });
  });

  test('holds no character that a terminal acts on, and means the same', () => {
    const value = { a: '\u001b\u007f\u009b\u202e\u2028é' };
    expect(jsonText(value)).not.toMatch(/[\u007f-\u009f\u2028\u202e]/u);
    expect(JSON.parse(jsonText(value))).toEqual(value);
  });
});

describe('a table that is written while its rows come', () => {
  const columns = [
    { title: 'N', value: (row: number) => String(row).padStart(4) },
    { title: 'KEY', wrap: true, value: (row: number) => `key ${row}` },
  ];

  test('has its titles once, and lines that line up', async () => {
    const output = recordedOutput();
    const table = streamTable(columns, output);
    for (let row = 0; row < 450; row += 1) await table.add(row);
    await table.end();
    const lines = output.printed.join('').trimEnd().split('\n');
    expect(output.printed).toHaveLength(3);
    expect(lines).toHaveLength(451);
    expect(lines.filter((line) => line.includes('KEY'))).toHaveLength(1);
    expect(new Set(lines.slice(1).map((line) => line.indexOf('key')))).toEqual(new Set([6]));
  });

  test('is nothing without rows, and blocks where there is no room', async () => {
    const empty = recordedOutput();
    await streamTable(columns, empty).end();
    expect(empty.printed).toEqual([]);
    const narrow = recordedOutput({ width: 10 });
    const table = streamTable(columns, narrow);
    for (let row = 0; row < 201; row += 1) await table.add(row);
    await table.end();
    expect(narrow.printed.join('').split('\n\n')).toHaveLength(201);
  });
});
