/** What the listeners show and start; the daemon provides it. */
export interface Reason {
  readonly cluster?: string;
  /** Stable: `no-backup`, `too-old`, `generation-unaccepted`, `scheduler-stuck`, `clock-not-set`, `future-backup`, `verification-failed`, `members-disagree`, `newest-suspect`, `corrupt-alarm`, `no-space`, `stopping`. */
  readonly code: string;
  readonly message: string;
}

export interface ReadyReport {
  readonly ready: boolean;
  readonly reasons: readonly Reason[];
  readonly clusters: Readonly<
    Record<
      string,
      { readonly newestBackup: string | null; readonly ageSeconds: number | null; readonly maxAgeSeconds: number; readonly role: string }
    >
  >;
}

export interface ProbeSource {
  ready(): ReadyReport;
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
}

export type StartAnswer =
  | { readonly outcome: 'started' | 'joined'; readonly job: string }
  | { readonly outcome: 'unknown-cluster' | 'starting' | 'stopping' };

export interface ApiSource {
  startBackup(cluster: string): StartAnswer;
  /** JSON, or undefined for an id that is not known (any more). */
  job(id: string): unknown;
  status(): unknown;
  readonly stopping: boolean;
}
