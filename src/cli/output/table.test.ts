import { describe, expect, test } from 'vitest';
import { printable, renderTable, type Column } from './table.ts';

interface Row {
  readonly name: string;
  readonly size: string;
}
const columns: readonly Column<Row>[] = [
  { title: 'NAME', value: (row) => row.name },
  { title: 'SIZE', align: 'right', value: (row) => row.size },
];

describe('tables', () => {
  test('columns are as wide as their widest cell, numbers to the right', () => {
    const rows = [
      { name: 'a', size: '1 KiB' },
      { name: 'longer', size: '20 MiB' },
    ];
    expect(renderTable(columns, rows, Infinity)).toBe(['NAME      SIZE', 'a        1 KiB', 'longer  20 MiB'].join('\n'));
  });

  test('fault 77: a 40-column terminal gets one block a row, and no line is wider than it', () => {
    const text = renderTable(columns, [{ name: 'a very long name that certainly does not fit into forty columns', size: '1' }], 40);
    expect(text.split('\n').every((line) => line.length <= 40)).toBe(true);
    expect(text.replaceAll(/\s+/g, ' ')).toContain('a very long name that certainly does not fit into forty columns');
    expect(text).toMatch(/^NAME {2}a very/);
  });

  test('a word longer than the room is cut, not lost', () => {
    const text = renderTable(columns, [{ name: 'x'.repeat(70), size: '1' }], 40);
    expect(text.match(/x/g)).toHaveLength(70);
  });

  test('control characters never reach a terminal', () => {
    expect(printable('a\u001b[31mb\nc')).toBe('a\\x1b[31mb\\x0ac');
    expect(renderTable(columns, [{ name: 'a\u001b[2J', size: '' }], Infinity)).not.toContain('\u001b');
  });
});
