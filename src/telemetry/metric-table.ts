/**
 * The one table of metrics. The registry is made from it and docs/metrics.md is generated from it.
 *
 * Labels come from bounded sets only: names in the configuration, codes of the error table, the words listed in `values`. Nothing that a
 * server or an error text can choose becomes a label (a thousand different errors must not become a thousand series).
 */
export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[];
  /** Words that a label can take, for the documentation. */
  readonly values?: string;
}

/** From one second (a small cluster, local disk) to an hour (the default time limit of a backup). */
const JOB_SECONDS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600] as const;
/** Of one member: from the time of a single long request to that of a database of tens of gigabytes on a slow disk. */
const FREEZE_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 1200] as const;
const CLUSTER = ['cluster'] as const;

export const METRICS = {
  etcd_warden_build_info: { type: 'gauge', help: 'Always 1; the labels say which build runs.', labels: ['version', 'node'] },
  etcd_warden_config_loaded_timestamp_seconds: { type: 'gauge', help: 'When the configuration in force was loaded.', labels: [] },
  etcd_warden_config_reload_failed: {
    type: 'gauge',
    help: '1 while the last reload was refused and an older configuration is in force.',
    labels: [],
  },
  etcd_warden_ready: { type: 'gauge', help: '1 while /readyz answers 200.', labels: [] },
  etcd_warden_scheduler_last_tick_timestamp_seconds: { type: 'gauge', help: 'When the scheduler last looked at the clock.', labels: [] },
  etcd_warden_leader: {
    type: 'gauge',
    help: '1 while this daemon works for the cluster: elected, or uncoordinated because there is no quorum or coordination is off. 0 on a standby.',
    labels: CLUSTER,
  },
  etcd_warden_coordinated: {
    type: 'gauge',
    help: '1 while an election in etcd decides who works; 0 while there is none.',
    labels: CLUSTER,
  },

  etcd_warden_backup_last_success_timestamp_seconds: {
    type: 'gauge',
    help: 'Time of the newest backup that the store holds whole and verified; without the store label: of the newest backup that all intended stores hold.',
    labels: ['cluster', 'store'],
    values: 'store: a name in the configuration, or empty',
  },
  etcd_warden_backup_max_age_seconds: {
    type: 'gauge',
    help: 'The age at which the newest backup makes the daemon not ready.',
    labels: CLUSTER,
  },
  etcd_warden_backup_interval_seconds: {
    type: 'gauge',
    help: 'Time between the next two slots of the schedule; absent without a schedule.',
    labels: CLUSTER,
  },
  etcd_warden_backup_next_timestamp_seconds: { type: 'gauge', help: 'When the next slot of the schedule comes.', labels: CLUSTER },
  etcd_warden_backups_total: {
    type: 'counter',
    help: 'Attempts at a backup by outcome.',
    labels: ['cluster', 'outcome'],
    values: 'outcome: complete, partial, skipped, failed',
  },
  etcd_warden_backup_failures_total: {
    type: 'counter',
    help: 'Failed attempts by error code.',
    labels: ['cluster', 'code'],
    values: 'code: docs/errors.md',
  },
  etcd_warden_backup_consecutive_failures: { type: 'gauge', help: 'Failed attempts since the last success.', labels: CLUSTER },
  etcd_warden_backup_duration_seconds: {
    type: 'histogram',
    help: 'Duration of backups that ended complete or partial.',
    labels: CLUSTER,
    buckets: JOB_SECONDS,
  },
  etcd_warden_backup_bytes: {
    type: 'gauge',
    help: 'Size of the newest backup.',
    labels: ['cluster', 'kind'],
    values: 'kind: plain (the database), stored (as it lies in a store)',
  },
  etcd_warden_backup_last_revision: { type: 'gauge', help: 'True revision of the newest backup, read from its file.', labels: CLUSTER },
  etcd_warden_backup_slots_total: {
    type: 'counter',
    help: 'Slots of the schedule by what became of them.',
    labels: ['cluster', 'outcome'],
    values:
      'outcome: started, caught_up, skipped (the run before was not finished), missed (no daemon was up in time), standby (another daemon serves it)',
  },
  etcd_warden_backup_copies_missing: {
    type: 'gauge',
    help: 'Backups that an intended store does not hold whole.',
    labels: ['cluster', 'store'],
  },
  etcd_warden_backup_suspect: { type: 'gauge', help: '1 while the newest backup differs from what the members say.', labels: CLUSTER },
  etcd_warden_backup_last_proved_timestamp_seconds: {
    type: 'gauge',
    help: 'Time of the newest backup whose content a member of the cluster has confirmed by its hash.',
    labels: CLUSTER,
  },
  etcd_warden_proofs_total: {
    type: 'counter',
    help: 'Backups that were to be compared with the cluster, by outcome.',
    labels: ['cluster', 'outcome'],
    values:
      'outcome: proved, unproved (no member could be asked, or none in time), inconclusive (different, but nobody can tell for certain), differs (the backup is suspect)',
  },
  etcd_warden_proofs_wanting: {
    type: 'gauge',
    help: 'Backups without proof for which a member will still be asked.',
    labels: CLUSTER,
  },
  etcd_warden_proof_stall_predicted_seconds: {
    type: 'gauge',
    help: 'How long the member asked last, or to be asked, was expected to apply no writes.',
    labels: CLUSTER,
  },
  etcd_warden_proof_stall_seconds: { type: 'gauge', help: 'How long it took to answer.', labels: CLUSTER },
  etcd_warden_members_disagree: {
    type: 'gauge',
    help: '1 while members of the cluster have different data at the same revision, found twice: one of them is corrupt.',
    labels: CLUSTER,
  },
  etcd_warden_backups: {
    type: 'gauge',
    help: 'Backups in the catalog by state.',
    labels: ['cluster', 'state'],
    values: 'state: complete, partial, damaged',
  },
  etcd_warden_generation_unaccepted: {
    type: 'gauge',
    help: '1 while backups go into a generation that nobody accepted; nothing is pruned across it.',
    labels: CLUSTER,
  },
  etcd_warden_disk_full: { type: 'gauge', help: '1 after a backup failed for want of space, until one succeeds.', labels: CLUSTER },
  etcd_warden_store_reachable: { type: 'gauge', help: '1 when the store could be listed at the last look.', labels: ['cluster', 'store'] },

  etcd_warden_verify_last_success_timestamp_seconds: {
    type: 'gauge',
    help: 'When a stored backup was last read again and found sound, at this level or deeper.',
    labels: ['cluster', 'store', 'level'],
    values: 'level: stored, content, proved',
  },
  etcd_warden_verifications_total: {
    type: 'counter',
    help: 'Copies of backups that the daemon read again, by the level that was reached and by outcome.',
    labels: ['cluster', 'store', 'level', 'outcome'],
    values: 'level: stored, content, proved; outcome: ok, failed, inconclusive',
  },
  etcd_warden_verify_failed: {
    type: 'gauge',
    help: '1 while the check of the newest backup on the store says that it is not sound.',
    labels: ['cluster', 'store'],
  },

  etcd_warden_drill_last_success_timestamp_seconds: {
    type: 'gauge',
    help: 'When a restore from the store was last rehearsed and held what the backup promises; started: an etcd served it, offline: only the data directory was checked.',
    labels: ['cluster', 'store', 'level'],
    values: 'level: started, offline',
  },
  etcd_warden_drills_total: {
    type: 'counter',
    help: 'Restores that the daemon rehearsed, or wanted to: inconclusive ones count as not done.',
    labels: ['cluster', 'store', 'outcome'],
    values: 'outcome: ok, failed, inconclusive',
  },
  etcd_warden_drill_failed: {
    type: 'gauge',
    help: '1 while the last drill that came to a result says that a restore from the store does not hold what the backup promises.',
    labels: ['cluster', 'store'],
  },
  etcd_warden_drill_overdue: {
    type: 'gauge',
    help: '1 while no drill of the store has succeeded for drill.maxAge; absent without a schedule.',
    labels: ['cluster', 'store'],
  },
  etcd_warden_drill_recovery_seconds: {
    type: 'gauge',
    help: 'How long the last drill that succeeded took from the first byte read until clients could have been let in.',
    labels: ['cluster', 'store'],
  },
  etcd_warden_drill_duration_seconds: {
    type: 'gauge',
    help: 'How long the last drill took in all, with the comparison of values and without the time that it waited.',
    labels: ['cluster', 'store'],
  },

  etcd_warden_retention_removed_total: { type: 'counter', help: 'Backups removed by retention.', labels: CLUSTER },
  etcd_warden_retention_kept: { type: 'gauge', help: 'Backups that the last prune kept.', labels: CLUSTER },
  etcd_warden_retention_failures_total: {
    type: 'counter',
    help: 'Prunes that failed, or removed nothing because a store could not be listed, by error code.',
    labels: ['cluster', 'code'],
    values: 'code: docs/errors.md',
  },

  etcd_warden_jobs_total: {
    type: 'counter',
    help: 'Jobs by verb and outcome.',
    labels: ['verb', 'outcome'],
    values:
      'verb: backup, maintain, prune, prove, copy, drill, index, sweep, survey, verify; outcome: ok, failed, crashed, stalled, stopped',
  },
  etcd_warden_jobs_running: { type: 'gauge', help: 'Jobs that run now.', labels: [] },
  etcd_warden_jobs_queued: { type: 'gauge', help: 'Jobs that wait for their turn.', labels: [] },

  etcd_warden_etcd_members: {
    type: 'gauge',
    help: 'Members of the cluster as the daemon sees them.',
    labels: ['cluster', 'state'],
    values: 'state: reachable, unreachable',
  },
  etcd_warden_etcd_quorum: { type: 'gauge', help: '1 while a member answers with a leader.', labels: CLUSTER },
  etcd_warden_etcd_db_size_bytes: { type: 'gauge', help: 'Largest database file among the reachable members.', labels: CLUSTER },
  etcd_warden_etcd_db_in_use_bytes: { type: 'gauge', help: 'Bytes in use in that file.', labels: CLUSTER },
  etcd_warden_etcd_quota_bytes: {
    type: 'gauge',
    help: 'Quota of the member that is nearest to its own, by who told it; absent where it has none. There are no series of single members: their names are the choice of a server; the API shows them.',
    labels: ['cluster', 'source'],
    values: 'source: status, metrics, configured, default',
  },
  etcd_warden_etcd_quota_share: {
    type: 'gauge',
    help: 'Size of the database of that member by its quota: at 1 etcd accepts no writes.',
    labels: CLUSTER,
  },
  etcd_warden_etcd_quota_reached_timestamp_seconds: {
    type: 'gauge',
    help: 'When the first member reaches its quota at the growth of the last days; absent while none grows.',
    labels: CLUSTER,
  },
  etcd_warden_etcd_alarms: { type: 'gauge', help: 'Armed alarms.', labels: ['cluster', 'alarm'], values: 'alarm: nospace, corrupt' },

  etcd_warden_maintenance_rounds_total: {
    type: 'counter',
    help: 'Rounds of maintenance by outcome.',
    labels: ['cluster', 'outcome'],
    values:
      'outcome: done, nothing (no action was due), refused (a rule stood against it), failed (a surprise ended it), error (it did not come to a plan)',
  },
  etcd_warden_maintenance_failures_total: {
    type: 'counter',
    help: 'Rounds that failed or came to no plan, by error code.',
    labels: ['cluster', 'code'],
    values: 'code: docs/errors.md',
  },
  etcd_warden_maintenance_actions_total: {
    type: 'counter',
    help: 'Steps that were carried out.',
    labels: ['cluster', 'action'],
    values: 'action: compact, await-compaction, move-leader, defrag, disarm',
  },
  etcd_warden_maintenance_last_timestamp_seconds: {
    type: 'gauge',
    help: 'When a step of this kind was last carried out: compact, defrag and disarm by any daemon or verb that keeps the same record, the others by this daemon.',
    labels: ['cluster', 'action'],
    values: 'action: as above',
  },
  etcd_warden_maintenance_refusals_total: {
    type: 'counter',
    help: 'Rounds at whose end a rule stood against something.',
    labels: ['cluster', 'rule'],
    values: 'rule: docs/maintenance.md',
  },
  etcd_warden_maintenance_refused: {
    type: 'gauge',
    help: '1 for each rule that stood against something at the end of the last round; the others are absent.',
    labels: ['cluster', 'rule'],
    values: 'rule: docs/maintenance.md',
  },
  etcd_warden_maintenance_running: { type: 'gauge', help: '1 while a round runs.', labels: CLUSTER },
  etcd_warden_maintenance_next_timestamp_seconds: {
    type: 'gauge',
    help: 'When the schedule looks next whether something is worth doing.',
    labels: CLUSTER,
  },
  etcd_warden_defrag_seconds: {
    type: 'histogram',
    help: 'How long members were defragmented, which is how long they answered nothing.',
    labels: CLUSTER,
    buckets: FREEZE_SECONDS,
  },
  etcd_warden_defrag_last_seconds: { type: 'gauge', help: 'The same of the last one.', labels: CLUSTER },
  etcd_warden_defrag_predicted_seconds: { type: 'gauge', help: 'How long that was expected to take.', labels: CLUSTER },
  etcd_warden_defrag_reclaimed_bytes_total: {
    type: 'counter',
    help: 'Bytes that defragmentation gave back, of all members.',
    labels: CLUSTER,
  },
  etcd_warden_defrag_overdue: {
    type: 'gauge',
    help: '1 while a member takes longer over a defragmentation than its deadline: nothing else is begun until it is back.',
    labels: CLUSTER,
  },

  process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory of the daemon (not of its jobs).', labels: [] },
  process_cpu_seconds_total: { type: 'counter', help: 'Processor time of the daemon, user and system.', labels: [] },
  process_start_time_seconds: { type: 'gauge', help: 'When the daemon started.', labels: [] },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;
