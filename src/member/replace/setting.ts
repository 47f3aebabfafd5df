/** What the steps of a replacement are given. */
import type { ClusterAccess } from '../../etcd/types.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { MemberContext, MemberGate, MembershipSight } from '../types.ts';
import type { DataPlace } from './local/data-dir.ts';
import type { Manager } from './local/manager.ts';
import type { NoteStore } from './note.ts';
import type { ReplaceNote, ReplaceState } from './types.ts';

export interface World {
  readonly state: ReplaceState;
  readonly sight: MembershipSight;
}

/** What one run remembers from step to step; all of it can be learned again. */
export interface Memory {
  note: ReplaceNote | undefined;
  dataMoved: boolean;
  checked: boolean;
}

export interface ReplaceSetting {
  readonly access: ClusterAccess;
  /** Everything, anew. @throws WardenError */
  readonly look: (signal: AbortSignal) => Promise<World>;
  readonly gates: (world: World) => readonly MemberGate[];
  readonly memory: Memory;
  readonly manager: Manager | undefined;
  readonly place: DataPlace | undefined;
  readonly note: NoteStore;
  /** Keeps maintenance and backups of this cluster away meanwhile. @throws WardenError `locked` */
  readonly lock: <T>(purpose: string, work: () => Promise<T>) => Promise<T>;
  /** Several lines for whoever operates the machines. */
  readonly tell: (text: string) => void;
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
  readonly context: MemberContext;
  readonly logger: Logger;
  readonly now: () => Date;
  readonly pace: Pace;
}

/** Milliseconds. */
export interface Pace {
  readonly pollMs: number;
  /** For what people do, and for the transfer of the data. */
  readonly waitMs: number;
  /** A process that was told to end is gone by then; systemd itself gives up after 90 s. */
  readonly stopMs: number;
}

export const PACE: Pace = { pollMs: 1_000, waitMs: 60 * 60_000, stopMs: 150_000 };
