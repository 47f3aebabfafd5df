/** What starts and stops an etcd on this machine: a systemd unit or a static pod. */
import type { Edit } from '../manifest/edit.ts';
import type { StartConfig } from '../manifest/start-config.ts';

export interface Manager {
  /** For sentences: `etcd.service`, or the path of the manifest. */
  readonly name: string;
  /** Whether etcd is to run: a unit that restarts again and again is. @throws WardenError */
  running(signal: AbortSignal): Promise<boolean>;
  /** Returns when it was told to; whether the process is gone is seen by its port and its lock. @throws WardenError */
  stop(signal: AbortSignal): Promise<void>;
  /** What it would be started with now. @throws WardenError `refused` when that cannot be told */
  config(signal: AbortSignal): Promise<StartConfig>;
  /**
   * Sets initial-cluster-state to existing, and nothing else, after a copy was made.
   * @returns undefined when it was so already, or when there is no file that may be changed
   * @throws WardenError `refused` for what is not understood
   */
  setExisting(stamp: string, signal: AbortSignal): Promise<ManagedEdit | undefined>;
  start(signal: AbortSignal): Promise<void>;
  /** The newest lines of its log, newest last; empty when there are none to be had. */
  log(signal: AbortSignal): Promise<readonly string[]>;
  /** The same by hand, for the plan. */
  readonly commands: { readonly stop: string; readonly start: string };
}

export interface ManagedEdit extends Pick<Edit, 'line' | 'before' | 'after'> {
  readonly path: string;
  /** What it was. */
  readonly copy: string;
}
