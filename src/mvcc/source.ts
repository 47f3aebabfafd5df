/**
 * Records of etcd's bucket `key` in the order of their revisions, wherever they come from: a database, later captured changes or an assembled
 * state. Everything in this folder that looks at history works on this and on nothing else.
 */

/** One record: its revision as bytes (revision.ts) and the KeyValue as it is stored (key-value.ts). */
export interface RawRecord {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface RecordSource {
  /**
   * Records in ascending order of their keys, a leaf or so at a time. The views are valid until the next batch is asked for. May be called
   * again for another pass.
   * @param options.from first main revision that is wanted; all when absent
   */
  records(options?: { readonly from?: bigint | undefined; readonly signal?: AbortSignal | undefined }): AsyncIterable<readonly RawRecord[]>;
}
