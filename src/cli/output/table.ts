/**
 * Aligned tables for people. Where the columns do not fit, the last one is wrapped, then columns that can be spared go (and are named below
 * the table), and in a terminal too narrow even for that each row becomes a block of `name  value` lines, so nothing is cut off.
 */
import { stripVTControlCharacters } from 'node:util';

export interface Column<Row> {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** May run over several lines where room is short; only of use in the last column. */
  readonly wrap?: boolean;
  /** Left out where room is short: the highest number goes first. A column without one never goes. */
  readonly spare?: number;
  readonly value: (row: Row) => string;
}

/** One column with the text of its cells. */
interface Rendered {
  readonly title: string;
  readonly right: boolean;
  readonly wrap: boolean;
  readonly spare: number | undefined;
  readonly cells: readonly string[];
  readonly width: number;
}

const GAP = '  ';
/** Narrower than this, wrapped text is a tower of single words. */
const LEAST_WRAPPED = 24;

/**
 * Lines without a final newline. A column that is empty in every row is left out.
 * @param width columns of the terminal, or Infinity when the output is not one
 * @param part `next` continues a table whose first rows were printed before: no titles, and nothing is said again
 */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number,
  part: 'whole' | 'next' = 'whole',
): string {
  const all = columns
    .map((column) => render(column, rows))
    .filter((column) => rows.length === 0 || column.cells.some((cell) => cell !== ''));
  let shown = all;
  for (;;) {
    const widths = fit(shown, width);
    if (widths !== undefined) {
      const lines = renderLines(shown, widths);
      return (part === 'next' ? lines.slice(1) : [...lines, ...remark(all, shown, width)]).join('\n');
    }
    const spare = Math.max(...shown.map((column) => column.spare ?? -1));
    if (spare < 0) return `${part === 'next' ? '\n' : ''}${renderBlocks(all, rows.length, width)}`;
    shown = shown.filter((column) => column.spare !== spare);
  }
}

/** Terminal escape sequences and control characters in names or labels must never reach a terminal; a tab or newline would break the table. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function render<Row>(column: Column<Row>, rows: readonly Row[]): Rendered {
  const cells = rows.map((row) => printable(column.value(row)));
  return {
    title: column.title,
    right: column.align === 'right',
    wrap: column.wrap === true,
    spare: column.spare,
    cells,
    width: Math.max(visible(column.title), ...cells.map(visible)),
  };
}

/** The width of each column, or undefined when they do not fit. */
function fit(columns: readonly Rendered[], width: number): number[] | undefined {
  const widths = columns.map((column) => column.width);
  const total = widths.reduce((sum, cell) => sum + cell + GAP.length, -GAP.length);
  if (total <= width) return widths;
  const last = columns.at(-1);
  if (last?.wrap !== true) return undefined;
  const room = width - (total - last.width);
  return room < LEAST_WRAPPED ? undefined : [...widths.slice(0, -1), room];
}

function renderLines(columns: readonly Rendered[], widths: readonly number[]): string[] {
  const head = line(
    columns,
    columns.map((column) => column.title),
    widths,
  );
  const rows = columns[0]?.cells.length ?? 0;
  const body = Array.from({ length: rows }, (_, row) => {
    const pieces = columns.map((column, index) => wrap(column.cells[row] ?? '', widths[index] ?? 0));
    const height = Math.max(...pieces.map((piece) => piece.length));
    return Array.from({ length: height }, (_unused, part) =>
      line(
        columns,
        pieces.map((piece) => piece[part] ?? ''),
        widths,
      ),
    );
  });
  return [head, ...body.flat()];
}

function line(columns: readonly Rendered[], cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, index) => {
      const blank = ' '.repeat(Math.max(0, (widths[index] ?? 0) - visible(cell)));
      return columns[index]?.right === true ? blank + cell : cell + blank;
    })
    .join(GAP)
    .trimEnd();
}

/** What is not shown is said: nobody should take a missing column for a missing fact. */
function remark(all: readonly Rendered[], shown: readonly Rendered[], width: number): string[] {
  const hidden = all.filter((column) => !shown.includes(column)).map((column) => column.title);
  if (hidden.length === 0) return [];
  return wrap(`(not shown for want of room: ${hidden.join(', ')}; see --json or a wider terminal)`, width);
}

function renderBlocks(columns: readonly Rendered[], rows: number, width: number): string {
  const label = Math.max(...columns.map((column) => visible(column.title)));
  const room = Math.max(10, width - label - GAP.length);
  const blocks = Array.from({ length: rows }, (_, row) =>
    columns
      .filter((column) => column.cells[row] !== '')
      .flatMap((column) =>
        wrap(column.cells[row] ?? '', room).map((piece, index) => `${(index === 0 ? column.title : '').padEnd(label)}${GAP}${piece}`),
      )
      .join('\n'),
  );
  return blocks.join('\n\n');
}

/** A sentence below a table, broken where the terminal ends. */
export function wrapText(text: string, width: number): string {
  return wrap(text, width).join('\n');
}

/** Pieces no wider than `room`, cut at spaces where there are any; by code points, so that no character is torn apart. */
function wrap(text: string, room: number): string[] {
  const pieces: string[] = [];
  let rest = [...text];
  while (rest.length > room) {
    const space = rest.lastIndexOf(' ', room);
    const cut = space > 0 ? space : room;
    pieces.push(rest.slice(0, cut).join(''));
    rest = rest.slice(rest[cut] === ' ' ? cut + 1 : cut);
  }
  return [...pieces, rest.join('')];
}

function visible(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
