import { describe, expect, test } from 'vitest';
import { printable, renderTable, type Column } from './table.ts';

interface Row {
  readonly name: string;
  readonly size: string;
  readonly why?: string;
}
const columns: readonly Column<Row>[] = [
  { title: 'NAME', value: (row) => row.name },
  { title: 'SIZE', align: 'right', value: (row) => row.size },
];
const spareColumns: readonly Column<Row>[] = [
  { title: 'NAME', value: (row) => row.name },
  { title: 'SIZE', align: 'right', spare: 2, value: (row) => row.size },
  { title: 'AGAIN', spare: 1, value: (row) => row.size },
  { title: 'WHY', wrap: true, value: (row) => row.why ?? '' },
];

describe('tables', () => {
  test('columns are as wide as their widest cell, numbers to the right', () => {
    const rows = [
      { name: 'a', size: '1 KiB' },
      { name: 'longer', size: '20 MiB' },
    ];
    expect(renderTable(columns, rows, Infinity)).toBe(['NAME      SIZE', 'a        1 KiB', 'longer  20 MiB'].join('\n'));
  });

  test('a column that says nothing in any row is left out', () => {
    expect(renderTable(spareColumns, [{ name: 'a', size: '' }], 80)).toBe('NAME\na');
  });

  test('a table without rows is its titles', () => {
    expect(renderTable(columns, [], 80)).toBe('NAME  SIZE');
  });

  test('where room is short the last column wraps under itself', () => {
    const why = 'one two three four five six seven eight';
    expect(renderTable(spareColumns, [{ name: 'abc', size: '1 B', why }], 46)).toBe(
      ['NAME  SIZE  AGAIN  WHY', 'abc    1 B  1 B    one two three four five six', '                   seven eight'].join('\n'),
    );
  });

  test('then columns go that can be spared, and the table says which', () => {
    const text = renderTable(spareColumns, [{ name: 'a name of twenty-four ch', size: '1 B', why: 'x'.repeat(30) }], 60);
    expect(text.split('\n')).toEqual([
      'NAME                      AGAIN  WHY',
      `a name of twenty-four ch  1 B    ${'x'.repeat(27)}`,
      `                                 xxx`,
      '(not shown for want of room: SIZE; see --json or a wider',
      'terminal)',
    ]);
  });

  test('fault 77: a 40-column terminal gets one block a row, and no line is wider than it', () => {
    const text = renderTable(columns, [{ name: 'a very long name that certainly does not fit into forty columns', size: '1' }], 40);
    expect(text.split('\n').every((line) => line.length <= 40)).toBe(true);
    expect(text.replaceAll(/\s+/g, ' ')).toContain('a very long name that certainly does not fit into forty columns');
    expect(text).toMatch(/^NAME {2}a very/);
  });

  test('blocks hold what the table would have spared', () => {
    const text = renderTable(spareColumns, [{ name: 'n'.repeat(50), size: '7 B', why: 'because' }], 40);
    expect(text).toMatch(/SIZE {3}7 B/);
    expect(text).toMatch(/AGAIN {2}7 B/);
  });

  test('a word longer than the room is cut, not lost', () => {
    const text = renderTable(columns, [{ name: 'x'.repeat(70), size: '1' }], 40);
    expect(text.match(/x/g)).toHaveLength(70);
  });

  test('a character of two code units is not torn apart', () => {
    const text = renderTable(columns, [{ name: '😀'.repeat(50), size: '1' }], 40);
    expect([...text.replaceAll(/[^😀]/gu, '')]).toHaveLength(50);
  });

  test('control characters never reach a terminal', () => {
    expect(printable('a\u001b[31mb\nc')).toBe('a\\x1b[31mb\\x0ac');
    expect(renderTable(columns, [{ name: 'a\u001b[2J', size: '' }], Infinity)).not.toContain('\u001b');
  });
});
