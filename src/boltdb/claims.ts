/** Which pages of a database belong to something: one bit for each, so that a database of 8 GiB needs 256 KiB. */
export interface Claims {
  /**
   * Takes a page and those that follow it.
   * @param first page id; first + count is at most the number of pages
   * @returns the first one that was taken before, in which case none is taken now; undefined otherwise
   */
  claim(first: number, count: number): number | undefined;
  has(id: number): boolean;
}

/** @param pages how many pages the database has: its high-water mark */
export function createClaims(pages: number): Claims {
  const bits = new Uint32Array(Math.ceil(pages / 32));
  function has(id: number): boolean {
    return ((bits[Math.floor(id / 32)] ?? 0) & (1 << (id % 32))) !== 0;
  }
  return {
    has,
    claim(first, count) {
      for (let id = first; id < first + count; id += 1) if (has(id)) return id;
      for (let id = first; id < first + count; id += 1) bits[Math.floor(id / 32)]! |= 1 << (id % 32);
      return undefined;
    },
  };
}
