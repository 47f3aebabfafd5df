/** Positional reads over a file that may lie anywhere: a plain file, compressed frames, ranges of an object in a store. */
export interface RandomAccess {
  /** Length of the whole in bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`.
   * The buffer belongs to the caller until the next read; implementations may hand out views of a cache, so do not write to it.
   * @throws WardenError when the range lies outside the file or cannot be read.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer>;
}
