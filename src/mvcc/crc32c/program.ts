/**
 * The program that computes CRC32C. Bytes go through sixteen lanes at once: the data is cut into sixteen equal streams, each lane takes one byte
 * of its stream per step, and the sixteen sums are combined at the end. A step is the usual one, state = table[low byte ^ byte] ^ state >> 8, with the table of 256
 * split into two of 16 (CRC is linear), which a processor looks up for sixteen lanes in one instruction. A state's four bytes lie in four
 * vectors, so that the shift by a byte costs nothing.
 *
 * Why not a library: hash-wasm reaches 0.9 GB/s on leaves of 4 KiB, this 2.4 (docs/decisions/0011-proof.md), and every byte of a database goes through it.
 */
import {
  add,
  and,
  andV,
  block,
  branch,
  branchIf,
  call,
  code,
  type Code,
  constant,
  constantV,
  encodeModule,
  get,
  I32,
  isAbove,
  isBelow,
  isZero,
  load32,
  load8,
  loadV,
  lookUpV,
  loop,
  replaceByteV,
  select,
  set,
  shiftLeft,
  shiftRight,
  shiftRightBytesV,
  shuffleV,
  storeV,
  subtract,
  tee,
  V128,
  type WasmFunction,
  xor,
  xorV,
} from './assembly.ts';
import { apply, BYTE_TABLE, compose, ONE_BYTE, type Operator } from './tables.ts';

const LANES = 16;
const ROW = 16;
/** One round of all lanes. */
const ROUND = LANES * ROW;
/** Rounds after which the lanes are combined; there is an operator for each number of them. */
const MAX_ROUNDS = 64;

// Memory: tables for eight bytes at a time, operators, the lanes' sums, the data.
const SLICES_AT = 0;
const TABLE_BYTES = 1024;
const OPERATORS_AT = SLICES_AT + 8 * TABLE_BYTES;
const OPERATOR_BYTES = 4 * TABLE_BYTES;
const SUMS_AT = OPERATORS_AT + MAX_ROUNDS * OPERATOR_BYTES;
/** Where data may lie. */
export const DATA_AT = 0x50000;
const PAGE = 0x10000;

/** Bytes that fit into the memory at once. */
export const CAPACITY: number = 2 ** 18;

// Places in the module.
const LANES_FUNCTION = 0;
const COMBINE_FUNCTION = 1;
const BYTES_FUNCTION = 2;
const UPDATE_FUNCTION = 3;

/** Copies at most {@link CAPACITY} bytes into the memory and takes them into the raw state (before the final complement). */
export type Update = (state: number, bytes: Uint8Array) => number;

/** Compiles it: some milliseconds. */
export function createUpdate(): Update {
  const program = createProgram();
  const data = new Uint8Array(program.memory.buffer, DATA_AT, CAPACITY);
  return (state, piece) => {
    data.set(piece);
    return program.run(DATA_AT, piece.length, state) >>> 0;
  };
}

/** The program with its memory, for bytes that are laid there anyway and need no copy for each sum. */
export interface Program {
  /** Bytes from {@link DATA_AT} on are free; may be grown. */
  readonly memory: WebAssembly.Memory;
  /** The raw state after `length` bytes at `at`, as a signed number. */
  readonly run: (at: number, length: number, state: number) => number;
}

export function createProgram(): Program {
  made ??= make();
  const { exports } = new WebAssembly.Instance(made.module);
  const { memory, update: run } = exports as { memory: WebAssembly.Memory; update: Program['run'] };
  new Uint32Array(memory.buffer).set(made.tables);
  return { memory, run };
}

/** What every program shares, made once: its code, and the beginning of its memory. */
let made: { readonly module: WebAssembly.Module; readonly tables: Uint32Array } | undefined;

function make(): NonNullable<typeof made> {
  const tables = new Uint32Array(SUMS_AT / 4);
  fillTables(tables);
  const program = encodeModule([lanes(), combine(), bytewise(), update()], (DATA_AT + CAPACITY) / PAGE, { update: UPDATE_FUNCTION });
  return { module: new WebAssembly.Module(program), tables };
}

function fillTables(words: Uint32Array): void {
  let slice: Uint32Array = BYTE_TABLE;
  for (let i = 0; i < 8; i += 1) {
    words.set(slice, (SLICES_AT + i * TABLE_BYTES) / 4);
    slice = slice.map((state) => apply(ONE_BYTE, state));
  }
  let row = ONE_BYTE;
  for (let length = 1; length < ROW; length *= 2) row = compose(row, row);
  let operator: Operator = row;
  for (let rounds = 1; rounds <= MAX_ROUNDS; rounds += 1) {
    words.set(operator, (OPERATORS_AT + (rounds - 1) * OPERATOR_BYTES) / 4);
    operator = compose(operator, row);
  }
}

/** (at, rounds, stride, state): the sums of sixteen streams of `rounds` rows that begin `stride` bytes apart; the first begins with `state`, the others with 0. */
function lanes(): WasmFunction {
  const [at, rounds, stride, state] = [0, 1, 2, 3];
  let next = 4;
  const vectors = (count: number): number[] => Array.from({ length: count }, () => next++);
  const rows = vectors(ROW);
  const turned = vectors(ROW);
  const sums = vectors(4);
  const lowTables = vectors(4);
  const highTables = vectors(4);
  const [index, low, high, mask] = vectors(4) as [number, number, number, number];
  const vectorCount = next - 4;
  const from = next;
  const half = (place: number, high4: boolean): Code =>
    Array.from({ length: 16 }, (_, value) => (BYTE_TABLE[high4 ? value << 4 : value]! >>> (8 * place)) & 0xff);
  const body: Code[] = [
    ...[0, 1, 2, 3].flatMap((place) => [
      [...constantV(half(place, false)), ...set(lowTables[place]!)],
      [...constantV(half(place, true)), ...set(highTables[place]!)],
      [...constantV(filled(0)), ...get(state), ...constant(8 * place), ...shiftRight, ...replaceByteV(0), ...set(sums[place]!)],
    ]),
    [...constantV(filled(15)), ...set(mask)],
    loop(
      [...get(at), ...set(from)],
      ...rows.map((row, lane) => [
        ...get(from),
        ...loadV(0),
        ...set(row),
        ...(lane === LANES - 1 ? [] : [...get(from), ...get(stride), ...add, ...set(from)]),
      ]),
      ...transpose(rows, turned),
      ...rows.map((column) => [
        ...code(get(column), get(sums[0]!), xorV, tee(index), get(mask), andV, set(low)),
        ...code(get(index), constant(4), shiftRightBytesV, set(high)),
        ...[0, 1, 2, 3].flatMap((place) => [
          ...code(get(lowTables[place]!), get(low), lookUpV, get(highTables[place]!), get(high), lookUpV, xorV),
          ...(place === 3 ? [] : [...get(sums[place + 1]!), ...xorV]),
          ...set(sums[place]!),
        ]),
      ]),
      [...get(at), ...constant(ROW), ...add, ...set(at)],
      [...get(rounds), ...constant(1), ...subtract, ...tee(rounds), ...branchIf(0)],
    ),
    ...sums.map((sum, place) => [...constant(SUMS_AT + 16 * place), ...get(sum), ...storeV(0)]),
  ];
  return {
    signature: { parameters: [I32, I32, I32, I32], results: [] },
    locals: [
      [vectorCount, V128],
      [1, I32],
    ],
    body: body.flat(),
  };
}

/** Rows become columns: four times every vector is interleaved with the one eight further on. The result lies in `rows` again. */
function transpose(rows: readonly number[], turned: readonly number[]): Code[] {
  const interleaved = (first: number): Code => Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? 0 : 16) + first + (i >> 1));
  const stage = (from: readonly number[], to: readonly number[]): Code[] =>
    Array.from({ length: 8 }, (_, i) => [
      ...code(get(from[i]!), get(from[i + 8]!), shuffleV(interleaved(0)), set(to[2 * i]!)),
      ...code(get(from[i]!), get(from[i + 8]!), shuffleV(interleaved(8)), set(to[2 * i + 1]!)),
    ]);
  return [...stage(rows, turned), ...stage(turned, rows), ...stage(rows, turned), ...stage(turned, rows)];
}

/** (operator): the sixteen sums as one: each takes the length of a stream further, and the next is added. */
function combine(): WasmFunction {
  const [operator, sum] = [0, 1];
  const lane = (number: number): Code =>
    [0, 1, 2, 3].flatMap((place) => [
      ...constant(SUMS_AT + 16 * place + number),
      ...load8(0),
      ...(place === 0 ? [] : [...constant(8 * place), ...shiftLeft, ...xor]),
    ]);
  const moved = [0, 1, 2, 3].flatMap((place) => [
    ...get(sum),
    ...(place === 0 ? [] : [...constant(8 * place), ...shiftRight]),
    ...code(constant(0xff), and, constant(2), shiftLeft, get(operator), add, load32(TABLE_BYTES * place)),
    ...(place === 0 ? [] : xor),
  ]);
  const others = Array.from({ length: LANES - 1 }, (_, i) => [...moved, ...lane(i + 1), ...xor, ...set(sum)]);
  return {
    signature: { parameters: [I32], results: [I32] },
    locals: [[1, I32]],
    body: [...lane(0), ...set(sum), ...others.flat(), ...get(sum)],
  };
}

/** (at, length, state): eight bytes at a time, then one by one; for what is less than a round. */
function bytewise(): WasmFunction {
  const [at, length, state, first, second] = [0, 1, 2, 3, 4];
  const slice = (table: number): Code => [...constant(2), ...shiftLeft, ...load32(SLICES_AT + TABLE_BYTES * table)];
  const byteOf = (word: number, place: number): Code => [...get(word), ...constant(8 * place), ...shiftRight, ...constant(0xff), ...and];
  const advance = (by: number): Code => [
    ...code(get(at), constant(by), add, set(at)),
    ...code(get(length), constant(by), subtract, set(length)),
  ];
  const lookUps = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((place) => [
    ...code(byteOf(place < 4 ? first : second, place % 4), slice(7 - place)),
    ...(place === 0 ? [] : xor),
  ]);
  return {
    signature: { parameters: [I32, I32, I32], results: [I32] },
    locals: [[2, I32]],
    body: [
      ...block(
        loop(
          [...get(length), ...constant(8), ...isBelow, ...branchIf(1)],
          [...get(at), ...load32(0), ...get(state), ...xor, ...set(first), ...get(at), ...load32(4), ...set(second)],
          [...lookUps, ...set(state)],
          [...advance(8), ...branch(0)],
        ),
      ),
      ...block(
        loop(
          [...get(length), ...isZero, ...branchIf(1)],
          [...get(state), ...get(at), ...load8(0), ...xor, ...constant(0xff), ...and, ...slice(0)],
          [...get(state), ...constant(8), ...shiftRight, ...xor, ...set(state)],
          [...advance(1), ...branch(0)],
        ),
      ),
      ...get(state),
    ],
  };
}

/** (at, length, state): whole rounds through the lanes, the rest bytewise. */
function update(): WasmFunction {
  const [at, length, state, rounds] = [0, 1, 2, 3];
  const taken = [...get(rounds), ...constant(Math.log2(ROUND)), ...shiftLeft];
  return {
    signature: { parameters: [I32, I32, I32], results: [I32] },
    locals: [[1, I32]],
    body: [
      ...block(
        loop(
          [...get(length), ...constant(ROUND), ...isBelow, ...branchIf(1)],
          [...constant(MAX_ROUNDS), ...get(length), ...constant(Math.log2(ROUND)), ...shiftRight, ...tee(rounds)],
          [...get(rounds), ...constant(MAX_ROUNDS), ...isAbove, ...select, ...set(rounds)],
          [...get(at), ...get(rounds), ...get(rounds), ...constant(Math.log2(ROW)), ...shiftLeft, ...get(state), ...call(LANES_FUNCTION)],
          [...get(rounds), ...constant(1), ...subtract, ...constant(Math.log2(OPERATOR_BYTES)), ...shiftLeft],
          [...constant(OPERATORS_AT), ...add, ...call(COMBINE_FUNCTION), ...set(state)],
          [...get(at), ...taken, ...add, ...set(at), ...get(length), ...taken, ...subtract, ...set(length), ...branch(0)],
        ),
      ),
      ...code(get(at), get(length), get(state), call(BYTES_FUNCTION)),
    ],
  };
}

function filled(value: number): Code {
  return Array.from({ length: 16 }, () => value);
}
