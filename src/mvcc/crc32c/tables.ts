/**
 * CRC32C (Castagnoli, reflected polynomial 0x82F63B78), as HashKV uses it: arithmetic of polynomials over GF(2). Since it is linear, the sum of two
 * pieces one after the other follows from their own sums and the second one's length.
 */
const POLYNOMIAL = 0x82f63b78;

/** The remainder of each single byte. */
export const BYTE_TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit += 1) remainder = (remainder & 1) === 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1;
  return remainder >>> 0;
});

/** What a 32-bit state becomes, as four tables of 256 for its four bytes, lowest first: their values are to be added (xor). */
export type Operator = Uint32Array;

export function apply(operator: Operator, state: number): number {
  return (
    (operator[state & 0xff]! ^
      operator[256 + ((state >>> 8) & 0xff)]! ^
      operator[512 + ((state >>> 16) & 0xff)]! ^
      operator[768 + (state >>> 24)]!) >>>
    0
  );
}

/** What one zero byte does to a state. */
export const ONE_BYTE: Operator = operatorOf((state) => (BYTE_TABLE[state & 0xff]! ^ (state >>> 8)) >>> 0);

/** First one, then the other. */
export function compose(first: Operator, second: Operator): Operator {
  return operatorOf((state) => apply(second, apply(first, state)));
}

/** From what it does to each single bit. */
function operatorOf(linear: (state: number) => number): Operator {
  const operator = new Uint32Array(4 * 256);
  for (let place = 0; place < 4; place += 1) {
    for (let value = 1; value < 256; value += 1) {
      const low = value & -value;
      const rest = operator[256 * place + (value ^ low)]!;
      operator[256 * place + value] = rest ^ (value === low ? linear((low << (8 * place)) >>> 0) : operator[256 * place + low]!);
    }
  }
  return operator;
}

/** By the exponent: what 2^k zero bytes do. */
const powers: Operator[] = [ONE_BYTE];

/**
 * The CRC32C of two pieces, one after the other.
 * @param second that of the second piece alone, which has `secondLength` bytes
 */
export function combineCrc32c(first: number, second: number, secondLength: number): number {
  let state = first;
  for (let exponent = 0, rest = secondLength; rest > 0; exponent += 1, rest = Math.floor(rest / 2)) {
    powers[exponent] ??= compose(powers[exponent - 1]!, powers[exponent - 1]!);
    if (rest % 2 === 1) state = apply(powers[exponent]!, state);
  }
  return (state ^ second) >>> 0;
}
