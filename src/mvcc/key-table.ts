/**
 * Numbers by the digest of a key: open addressing in typed arrays, since a Map of a million strings takes 100 MB and this 20. Nothing is ever
 * taken out of it.
 */
const FIRST_SLOTS = 16;

/** Of a digest's own bytes; the values come on top. */
const DIGEST_BYTES = 8;

export class KeyTable {
  /** `columns` numbers per slot; replaced when the table grows, so read it again after `claim`. */
  values: Float64Array | Uint32Array;
  /** Keys in it. */
  size = 0;
  readonly columns: number;
  readonly #words: boolean;
  /** Signed: what fits into V8's small integers makes no object where code is not compiled yet. */
  #digests: Int32Array;
  #mask: number;

  /**
   * @param words numbers are whole ones of 32 bits, unsigned: half the memory
   * @param keys that it will hold, where that is known: growing costs time, and memory that lies around
   */
  constructor(columns: number, words = false, keys = 0) {
    this.columns = columns;
    this.#words = words;
    let slots = FIRST_SLOTS;
    while (slots * 3 < keys * 4) slots *= 2;
    this.#mask = slots - 1;
    this.#digests = new Int32Array(this.slots * 2);
    this.values = this.#numbers(slots);
  }

  get slots(): number {
    return this.#mask + 1;
  }

  /** Memory of it. */
  get bytes(): number {
    return this.slots * (DIGEST_BYTES + this.values.BYTES_PER_ELEMENT * this.columns);
  }

  /** The slot of a digest, signed or not; -1 when it is not there. Its numbers are `values[slot * columns]` and those behind it. */
  find(high: number, low: number): number {
    const slot = this.#seek(high | 0, inUse(high, low));
    return this.taken(slot) ? slot : -1;
  }

  /** The slot of a digest, with zeros when it is new. */
  claim(high: number, low: number): number {
    const mark = inUse(high, low);
    let slot = this.#seek(high | 0, mark);
    if (this.taken(slot)) return slot;
    // Three quarters full: beyond that, the way to a free slot grows fast.
    if ((this.size + 1) * 4 > this.slots * 3) {
      this.#grow();
      slot = this.#seek(high | 0, mark);
    }
    this.#digests[slot * 2] = high;
    this.#digests[slot * 2 + 1] = mark;
    this.size += 1;
    return slot;
  }

  /** Whether a slot below `slots` holds a key. */
  taken(slot: number): boolean {
    return this.#digests[slot * 2] !== 0 || this.#digests[slot * 2 + 1] !== 0;
  }

  /** The two halves of the digest in a slot that is taken. */
  high(slot: number): number {
    return this.#digests[slot * 2]! >>> 0;
  }

  low(slot: number): number {
    return this.#digests[slot * 2 + 1]! >>> 0;
  }

  #seek(high: number, low: number): number {
    const digests = this.#digests;
    let slot = low & this.#mask;
    for (;;) {
      const a = digests[slot * 2]!;
      const b = digests[slot * 2 + 1]!;
      if ((a === high && b === low) || (a === 0 && b === 0)) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }

  #grow(): void {
    const { values, columns, slots } = this;
    const digests = this.#digests;
    this.#mask = slots * 2 - 1;
    this.#digests = new Int32Array(slots * 4);
    this.values = this.#numbers(slots * 2);
    for (let old = 0; old < slots; old += 1) {
      const high = digests[old * 2]!;
      const low = digests[old * 2 + 1]!;
      if (high === 0 && low === 0) continue;
      const slot = this.#seek(high, low);
      this.#digests[slot * 2] = high;
      this.#digests[slot * 2 + 1] = low;
      for (let i = 0; i < columns; i += 1) this.values[slot * columns + i] = values[old * columns + i]!;
    }
  }

  #numbers(slots: number): Float64Array | Uint32Array {
    return this.#words ? new Uint32Array(slots * this.columns) : new Float64Array(slots * this.columns);
  }
}

/** Two zeros mark a free slot, so the one digest of only zeros is taken for its neighbour. Signed. */
function inUse(high: number, low: number): number {
  return high === 0 && low === 0 ? 1 : low | 0;
}
