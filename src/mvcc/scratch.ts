/**
 * A place for what does not fit into the bound of memory. Given from outside, because nothing here touches a disk; archive/scratch.ts makes
 * unlinked files of mode 0600, encrypted with a random key when the backup is.
 */
export interface Scratch {
  /** An empty file that nobody else can open. */
  create(): Promise<ScratchFile>;
}

export interface ScratchFile {
  /** Bytes written so far. */
  readonly size: number;
  /** Adds to the end; `bytes` may be used again when it resolves. */
  append(bytes: Buffer): Promise<void>;
  /** Exactly `length` bytes from `offset`, in a buffer of its own. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Its space is free again. */
  close(): Promise<void>;
}
