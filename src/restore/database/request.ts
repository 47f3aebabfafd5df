import type { Content, EtcdMinor, NewCluster, RestoreSource } from '../types.ts';

/** A database that is to be built. */
export interface DatabaseRequest {
  readonly source: RestoreSource;
  /** Must not exist; the folder must. */
  readonly path: string;
  readonly cluster: NewCluster;
  readonly content: Content;
  readonly minor: EtcdMinor;
  /** Drop a CORRUPT alarm instead of refusing. */
  readonly acceptSuspect: boolean;
  readonly scratchFolder: string;
}
