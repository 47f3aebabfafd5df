/** Aligned tables for people. In a terminal too narrow for the columns each row becomes a block of `name  value` lines, so nothing is cut off. */
import { stripVTControlCharacters } from 'node:util';

export interface Column<Row> {
  readonly title: string;
  readonly align?: 'left' | 'right';
  readonly value: (row: Row) => string;
}

/**
 * Lines without a final newline.
 * @param width columns of the terminal, or Infinity when the output is not one
 */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number): string {
  const cells = rows.map((row) => columns.map((column) => printable(column.value(row))));
  const widths = columns.map((column, index) => Math.max(visible(column.title), ...cells.map((line) => visible(line[index] ?? ''))));
  const total = widths.reduce((sum, cell) => sum + cell + GAP.length, -GAP.length);
  if (total > width) return renderBlocks(columns, cells, width);
  const head = columns.map((column) => column.title);
  return [head, ...cells]
    .map((line) =>
      line
        .map((cell, index) => pad(cell, widths[index] ?? 0, columns[index]?.align))
        .join(GAP)
        .trimEnd(),
    )
    .join('\n');
}

/** Terminal escape sequences and control characters in names or labels must never reach a terminal; a tab or newline would break the table. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

const GAP = '  ';

function renderBlocks<Row>(columns: readonly Column<Row>[], cells: readonly string[][], width: number): string {
  const label = Math.max(...columns.map((column) => visible(column.title)));
  return cells.map((line) => line.map((cell, index) => wrap(columns[index]?.title ?? '', cell, label, width)).join('\n')).join('\n\n');
}

function wrap(title: string, cell: string, label: number, width: number): string {
  const room = Math.max(10, width - label - GAP.length);
  const pieces: string[] = [];
  let rest = cell;
  while (visible(rest) > room) {
    const space = rest.lastIndexOf(' ', room);
    const cut = space > 0 ? space : room;
    pieces.push(rest.slice(0, cut));
    rest = rest.slice(cut).trimStart();
  }
  pieces.push(rest);
  return pieces.map((piece, index) => `${(index === 0 ? title : '').padEnd(label)}${GAP}${piece}`.trimEnd()).join('\n');
}

function pad(cell: string, width: number, align: 'left' | 'right' | undefined): string {
  const blank = ' '.repeat(Math.max(0, width - visible(cell)));
  return align === 'right' ? blank + cell : cell + blank;
}

function visible(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
