/**
 * The little of WebAssembly's binary format that crc32c/program.ts needs: instructions as arrays of bytes. Section and opcode numbers are those
 * of the core specification, release 2.0 with relaxed SIMD (binary format, modules and instructions).
 */

/** Instructions, or any other part of a module. */
export type Code = readonly number[];

export const I32 = 0x7f;
export const V128 = 0x7b;

const MAGIC_AND_VERSION: Code = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** Instructions one after the other. */
export function code(...instructions: readonly Code[]): Code {
  return instructions.flat();
}

/** Operand and result types of a function. */
export interface Signature {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
}

export interface WasmFunction {
  readonly signature: Signature;
  /** Types of the locals after the parameters, in runs. */
  readonly locals: readonly (readonly [count: number, type: number])[];
  readonly body: Code;
}

/** A module of these functions, called by their place, one memory exported as `memory`, and the functions in `exports` by name. */
export function encodeModule(
  functions: readonly WasmFunction[],
  memoryPages: number,
  exports: Readonly<Record<string, number>>,
): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ signature }) => [0x60, ...vector(signature.parameters.map(byte)), ...vector(signature.results.map(byte))]);
  const exported = Object.entries(exports).map(([name, index]) => [...text(name), 0x00, ...unsigned(index)]);
  return Uint8Array.from([
    ...MAGIC_AND_VERSION,
    ...section(1, vector(types)),
    ...section(3, vector(functions.map((_, index) => unsigned(index)))),
    ...section(5, vector([[0x00, ...unsigned(memoryPages)]])),
    ...section(7, vector([[...text('memory'), 0x02, 0x00], ...exported])),
    ...section(10, vector(functions.map(bodyOf))),
  ]);
}

function bodyOf({ locals, body }: WasmFunction): Code {
  const whole = [...vector(locals.map(([count, type]) => [...unsigned(count), type])), ...body, 0x0b];
  return [...unsigned(whole.length), ...whole];
}

function section(id: number, body: Code): Code {
  return [id, ...unsigned(body.length), ...body];
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function text(name: string): Code {
  return [...unsigned(name.length), ...Buffer.from(name, 'latin1')];
}

function byte(value: number): Code {
  return [value];
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const low = value & 0x7f;
  const rest = value >> 7;
  const last = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
  return last ? [low] : [low | 0x80, ...signed(rest)];
}

// Instructions. A name followed by `v` works on a vector of 16 bytes.
export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number): Code => [0x21, ...unsigned(local)];
export const tee = (local: number): Code => [0x22, ...unsigned(local)];
export const call = (index: number): Code => [0x10, ...unsigned(index)];
export const constant = (value: number): Code => [0x41, ...signed(value)];
export const add: Code = [0x6a];
export const subtract: Code = [0x6b];
export const and: Code = [0x71];
export const xor: Code = [0x73];
export const shiftLeft: Code = [0x74];
export const shiftRight: Code = [0x76];
export const isZero: Code = [0x45];
export const isBelow: Code = [0x49];
export const isAbove: Code = [0x4b];
export const select: Code = [0x1b];
export const load32 = (offset: number): Code => [0x28, 2, ...unsigned(offset)];
export const load8 = (offset: number): Code => [0x2d, 0, ...unsigned(offset)];
/** Ends a block or begins a loop again, `depth` levels up. */
export const branch = (depth: number): Code => [0x0c, depth];
export const branchIf = (depth: number): Code => [0x0d, depth];
export const block = (...body: readonly Code[]): Code => [0x02, 0x40, ...body.flat(), 0x0b];
export const loop = (...body: readonly Code[]): Code => [0x03, 0x40, ...body.flat(), 0x0b];

const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
export const loadV = (offset: number): Code => [...simd(0x00), 0, ...unsigned(offset)];
export const storeV = (offset: number): Code => [...simd(0x0b), 0, ...unsigned(offset)];
export const constantV = (bytes: Code): Code => [...simd(0x0c), ...bytes];
/** Any bytes of the two operands: 0-15 are the first one's, 16-31 the second one's. */
export const shuffleV = (lanes: Code): Code => [...simd(0x0d), ...lanes];
export const replaceByteV = (lane: number): Code => [...simd(0x17), lane];
export const andV: Code = simd(0x4e);
export const xorV: Code = simd(0x51);
export const shiftRightBytesV: Code = simd(0x6d);
/** The first operand's bytes at the second one's indices. Relaxed: indices above 15 mean different things on different processors, ours are below. */
export const lookUpV: Code = simd(0x100);
