/** Where the pages of a database go: a file, or memory in tests. */
export interface PageSink {
  /** `bytes` belong to the caller again when it returns or resolves. What it throws ends the writing. */
  write(offset: number, bytes: Buffer): void | Promise<void>;
}

/** The name of a bucket: text, or bytes where it need not be UTF-8. */
export type Name = string | Buffer;

/** An entry that is no bucket. */
export interface NewEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}
