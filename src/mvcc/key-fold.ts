/**
 * What happened to each key, folded into a few numbers per key, within a bound of memory whatever the number of keys: 64 tables, each for a 64th
 * of all digests. When they outgrow the bound they are written to scratch files, and so is all that comes after; at the end each part is folded
 * alone, in the order in which it came.
 */
import type { Scratch, ScratchFile } from './scratch.ts';
import { KeyTable } from './key-table.ts';

/** Tables grow by doubling, one part at a time, so the bound is passed by 1/64 at most. */
export const FOLD_BYTES = 48 * 2 ** 20;

const PARTS = 64;

/** Rows are written and read in pieces of this size. */
const PIECE_LENGTH = 64 * 2 ** 10;

export interface FoldRules {
  /** Numbers per key. */
  readonly columns: number;
  /** They are whole ones of 32 bits, unsigned (those of rows may be any). */
  readonly words?: boolean;
  /** Takes one row in; `claim` or `find` the key's slot in `table`. Must depend on nothing but table and row: it may be called later. */
  apply(table: KeyTable, high: number, low: number, a: number, b: number, c: number): void;
  /** Called once with each part when all rows are in. */
  finish?(table: KeyTable): void;
}

export interface KeyFold {
  /** A row about the key of this digest, whose halves may be signed or not. */
  push(high: number, low: number, a: number, b?: number, c?: number): void;
  /** To be awaited between batches of rows: writes to scratch what is too much. */
  settle(): Promise<void>;
  /** Rows are no longer applied as they come. */
  readonly spilled: boolean;
  /** The table that a digest belongs to, while nothing is spilled. */
  table(high: number): KeyTable;
  /** Applies what waits, and hands each part to `finish`. */
  finish(): Promise<void>;
  /** Frees memory and scratch files. */
  close(): Promise<void>;
}

interface Part {
  table: KeyTable;
  file: ScratchFile | undefined;
  /** Slots of the table that stand at the beginning of the file. */
  states: number;
  rows: Buffer[];
  used: number;
}

const ROW_LENGTH = 8 + 3 * 8;
/** Of a part whose keys were foretold: a table of 8192 slots at most, since fewer may come. */
const FIRST_KEYS = 6000;

/** Rows of a part that wait for each other. */
const ROWS_LENGTH = Math.floor(PIECE_LENGTH / 4 / ROW_LENGTH) * ROW_LENGTH;

/**
 * @param options.scratch without it memory is not bounded
 * @param options.limitBytes of all tables together, FOLD_BYTES by default
 * @param options.keys at most so many, where that is known
 */
export function createKeyFold(
  rules: FoldRules,
  options: { readonly scratch?: Scratch | undefined; readonly limitBytes?: number | undefined; readonly keys?: number } = {},
): KeyFold {
  const { scratch, limitBytes = FOLD_BYTES, keys = 0 } = options;
  const { columns } = rules;
  const stateLength = 8 + columns * 8;
  const emptyTable = (): KeyTable => new KeyTable(columns, rules.words);
  const parts: Part[] = Array.from({ length: PARTS }, () => ({
    table: new KeyTable(columns, rules.words, Math.min(keys / PARTS, FIRST_KEYS)),
    file: undefined,
    states: 0,
    rows: [],
    used: 0,
  }));
  let spilled = false;
  /** Pieces that are full and wait to be written: asking each part would take longer than what is between two calls of `settle`. */
  let full = 0;
  const spare: Buffer[] = [];

  /** The tables become the first lines of the parts' files: what they hold came before all that follows. */
  async function spill(to: Scratch): Promise<void> {
    spilled = true;
    for (const part of parts) {
      part.file = await to.create();
      part.states = part.table.size;
      await writeStates(part.table, part.file);
      part.table = emptyTable();
    }
  }

  async function writeStates(table: KeyTable, file: ScratchFile): Promise<void> {
    const piece = Buffer.allocUnsafe(Math.max(1, Math.floor(PIECE_LENGTH / stateLength)) * stateLength);
    let used = 0;
    for (let slot = 0; slot < table.slots; slot += 1) {
      if (!table.taken(slot)) continue;
      used = piece.writeUInt32LE(table.high(slot), used);
      used = piece.writeUInt32LE(table.low(slot), used);
      for (let i = 0; i < columns; i += 1) used = piece.writeDoubleLE(table.values[slot * columns + i]!, used);
      if (used < piece.length) continue;
      await file.append(piece);
      used = 0;
    }
    if (used > 0) await file.append(piece.subarray(0, used));
  }

  async function writeRows(part: Part, all: boolean): Promise<void> {
    const unfinished = all ? 0 : 1;
    while (part.rows.length > unfinished) {
      const piece = part.rows.shift()!;
      await part.file!.append(part.rows.length === 0 ? piece.subarray(0, part.used) : piece);
      spare.push(piece);
    }
  }

  /** Builds the table of one part from its file. */
  async function replay(part: Part): Promise<void> {
    const file = part.file!;
    const statesEnd = part.states * stateLength;
    for await (const piece of pieces(file, 0, statesEnd, stateLength)) {
      for (let at = 0; at < piece.length; at += stateLength) {
        const slot = part.table.claim(piece.readUInt32LE(at), piece.readUInt32LE(at + 4));
        for (let i = 0; i < columns; i += 1) part.table.values[slot * columns + i] = piece.readDoubleLE(at + 8 + i * 8);
      }
    }
    for await (const piece of pieces(file, statesEnd, file.size, ROW_LENGTH)) {
      for (let at = 0; at < piece.length; at += ROW_LENGTH) {
        const [a, b, c] = [piece.readDoubleLE(at + 8), piece.readDoubleLE(at + 16), piece.readDoubleLE(at + 24)];
        rules.apply(part.table, piece.readUInt32LE(at), piece.readUInt32LE(at + 4), a, b, c);
      }
    }
  }

  return {
    get spilled() {
      return spilled;
    },
    push(high, low, a, b = 0, c = 0) {
      const part = parts[high >>> 26]!;
      if (!spilled) {
        rules.apply(part.table, high, low, a, b, c);
        return;
      }
      let piece = part.rows.at(-1);
      if (piece === undefined || part.used + ROW_LENGTH > piece.length) {
        if (piece !== undefined) full += 1;
        piece = spare.pop() ?? Buffer.allocUnsafe(ROWS_LENGTH);
        part.rows.push(piece);
        part.used = 0;
      }
      let at = piece.writeUInt32LE(high >>> 0, part.used);
      at = piece.writeUInt32LE(low >>> 0, at);
      at = piece.writeDoubleLE(a, at);
      at = piece.writeDoubleLE(b, at);
      part.used = piece.writeDoubleLE(c, at);
    },
    async settle() {
      if (spilled) {
        if (full === 0) return;
        full = 0;
        for (const part of parts) if (part.rows.length > 1) await writeRows(part, false);
      } else if (scratch !== undefined && parts.reduce((sum, { table }) => sum + table.bytes, 0) > limitBytes) await spill(scratch);
    },
    table: (high) => parts[high >>> 26]!.table,
    async finish() {
      for (const part of parts) {
        if (spilled) {
          await writeRows(part, true);
          await replay(part);
        }
        rules.finish?.(part.table);
        if (spilled) part.table = emptyTable();
      }
    },
    async close() {
      spare.length = 0;
      for (const part of parts) {
        part.table = emptyTable();
        part.rows = [];
        await part.file?.close();
        part.file = undefined;
      }
    },
  };
}

/** A file's bytes from `start` to `end`, in buffers that hold whole items. */
async function* pieces(file: ScratchFile, start: number, end: number, itemLength: number): AsyncGenerator<Buffer, void, undefined> {
  const most = Math.max(1, Math.floor(PIECE_LENGTH / itemLength)) * itemLength;
  for (let at = start; at < end; at += most) yield await file.read(at, Math.min(most, end - at));
}
