/** The table of verbs. `--help`, the documentation test and the dispatcher read it; the code of a verb is imported only when it runs. */
import type { Verb } from './verb.ts';

/** What people type most. */
const REACHING_ETCD = ['endpoints', 'cacert', 'cert', 'key', 'user', 'password-file', 'member'] as const;
const KEEPING = ['keep-last', 'keep-hourly', 'keep-daily', 'keep-weekly', 'keep-monthly', 'keep-yearly', 'keep-within'] as const;

export const VERBS: readonly Verb[] = [
  {
    name: 'run',
    summary: 'the daemon: schedules, health, metrics, API',
    description:
      'Runs until it is told to stop: takes backups on schedule, prunes after each, completes missing copies, answers probes and metrics.\nSIGHUP reloads the configuration, SIGTERM stops within daemon.grace.',
    examples: [['etcd-warden run --config /etc/etcd-warden/config.yaml', 'as the systemd unit does']],
    needs: 'daemon',
    changes: true,
    load: () => import('./verbs/run.ts'),
  },
  {
    name: 'backup',
    summary: 'take one backup now; the exit code tells',
    description:
      'Streams a snapshot from the best member, checks length and SHA-256, reads the true revision from it, and publishes it on every store with its manifest last.\nRemoves nothing unless --prune is given. Exit code 0: complete; 3: on some stores only, or --prune could not do its part; 13: taken, but suspect; anything else: no backup.',
    examples: [
      [
        'etcd-warden backup --endpoints https://10.0.0.1:2379 --to /var/backups/etcd',
        'no configuration file needed; ETCDCTL_* variables are understood',
      ],
      ['etcd-warden backup --to s3://bucket/prefix --label before-upgrade', 'to S3, with the default credentials chain'],
      ['etcd-warden backup --cluster prod --prune', 'with the configuration file, and retention afterwards'],
    ],
    options: [
      ['--label <text>', 'a word or two to find it by'],
      ['--prune', 'apply retention afterwards'],
      ['--accept-cluster', 'accept another cluster id, or a history that moved back, as the next generation'],
    ],
    shows: [...REACHING_ETCD, 'recipients', ...KEEPING],
    needs: 'cluster',
    changes: true,
    load: () => import('./verbs/backup.ts'),
  },
  {
    name: 'list',
    summary: 'what is in the stores',
    description: 'Every backup with age, revision, size, where it is, how well verified, and what retention will do with it. Newest last.',
    examples: [
      ['etcd-warden list --from /var/backups/etcd', 'of the only cluster found there'],
      ['etcd-warden list --cluster prod --json', 'for programs'],
    ],
    needs: 'stores',
    changes: false,
    load: () => import('./verbs/list.ts'),
  },
  {
    name: 'show',
    arguments: '<id>',
    summary: 'everything known of one backup',
    description: 'The manifest, every copy, checks and holds. ID may be a unique prefix, `latest`, or a time (the newest not after it).',
    examples: [['etcd-warden show latest --from s3://bucket/prefix', 'the newest backup']],
    needs: 'stores',
    changes: false,
    load: () => import('./verbs/show.ts'),
  },
  {
    name: 'verify',
    arguments: '[id]',
    summary: 're-read backups from their stores',
    description:
      'Level `stored` compares the SHA-256 of the stored bytes and needs no key. Level `content` decodes every frame and compares length and SHA-256 of the plain snapshot. Level `proved` also checks every page and record of the database and compares its HashKV with what members answered when the backup was taken; where no answer is recorded the result is `content`. The result is recorded beside the backup. Exit code 13 when something is wrong.\nID may be a plain file (`./snapshot.db`): its trailer, pages and records are checked, and its HashKV is shown.',
    examples: [
      ['etcd-warden verify --latest', 'the newest backup on every store'],
      ['etcd-warden verify --all --level stored --store s3', 'everything on one store, without a key'],
      ['etcd-warden verify ./snapshot.db', 'a file that etcdctl wrote'],
    ],
    options: [
      ['--latest', 'the newest backup (the default)'],
      ['--all', 'every backup'],
      ['--store <name>', 'this store only'],
      ['--level <level>', 'stored, content or proved (default: proved, as far as the identity and the recorded hash allow)'],
    ],
    shows: ['identity-file'],
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/verify.ts'),
  },
  {
    name: 'prune',
    summary: 'apply retention now',
    description:
      'Removes what no rule keeps; each line says kept or removed and why. Never the last verified backup of a store, never before a newer verified one exists, nothing across generations that were not accepted.',
    examples: [
      ['etcd-warden prune --dry-run', 'the table, and nothing is removed'],
      ['etcd-warden prune --from /var/backups/etcd --keep-daily 14 --keep-last 3', 'without a file; without a rule nothing is removed'],
    ],
    options: [['--dry-run', 'only show what would happen']],
    shows: KEEPING,
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/prune.ts'),
  },
  {
    name: 'copy',
    arguments: '[id]',
    summary: 'complete missing copies',
    description:
      'Copies one backup, or with --missing every one that a store lacks, from whichever store has it whole. SHA-256 is checked on the way; the manifest is written last.',
    examples: [
      ['etcd-warden copy --missing --to s3', 'whatever the store named s3 lacks'],
      ['etcd-warden copy latest --from /var/backups/etcd --to s3://bucket/prefix', 'between two places'],
    ],
    options: [['--missing', 'every backup that the destination lacks']],
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/copy.ts'),
  },
  {
    name: 'export',
    arguments: '<id> <file>',
    summary: 'write a backup as the plain file that etcdctl writes',
    description:
      'Reads a backup from whichever store has it whole, compares it with its manifest, and gives it its name only then (mode 0600). `-` writes to standard output; there exit code 13 says that what was written is not whole. `etcdutl snapshot status` and `restore` take the file.\nID may be a plain file (`./snapshot.db.zst`): it is unpacked, and its trailer compared.',
    examples: [
      ['etcd-warden export latest ./snapshot.db', 'for etcdutl snapshot restore'],
      ['etcd-warden export 20261122 -', 'to standard output, for a pipe to another machine'],
    ],
    options: [['--force', 'replace a file that exists']],
    shows: ['identity-file'],
    needs: 'stores',
    changes: false,
    load: () => import('./verbs/export.ts'),
  },
  {
    name: 'import',
    arguments: '<files...>',
    summary: 'adopt snapshots of etcdctl, kubeadm, RKE2 and k3s',
    description:
      'Looks through each file, compares its trailer where it has one, and stores it compressed (and encrypted) with a manifest, like a backup. Files may be plain, .zip as RKE2 and k3s write, .zst or .age; a copy of member/snap/db gets its trailer. What is damaged is refused.\nImported snapshots form a history of their own: no member confirms them, `latest` and the schedule do not count them. Their time is --time, or what the name (RKE2: -<unix time>) or the last change of the file says. Importing the same database again changes nothing.',
    examples: [
      ['etcd-warden import ./snapshot.db --cluster prod', 'into the stores of the configured cluster'],
      ['etcd-warden import /var/lib/rancher/rke2/server/db/snapshots/etcd-snapshot-a --to /var/backups/etcd', 'without a file'],
    ],
    options: [
      ['--time <time>', 'when it was taken; for one file'],
      ['--label <text>', 'a word or two to find it by'],
    ],
    shows: ['recipients', 'identity-file'],
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/import.ts'),
  },
  {
    name: 'hold',
    arguments: '<id>',
    summary: 'keep a backup whatever retention says',
    description: 'Pins a backup until `release`. Recorded in the stores, so that every daemon honours it.',
    examples: [['etcd-warden hold latest --reason "before upgrade to 3.6"', 'with the reason that list will show']],
    options: [['--reason <text>', 'why']],
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/hold.ts'),
  },
  {
    name: 'release',
    arguments: '<id>',
    summary: 'undo a hold',
    description: 'The backup is subject to retention again.',
    examples: [['etcd-warden release 20261122T100000123Z-k3f9qa', 'by id']],
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/release.ts'),
  },
  {
    name: 'delete',
    arguments: '<id>',
    summary: 'remove one backup, with the same guards as prune',
    description: 'Refuses the last verified backup of a store, held ones, and whatever prune would never remove.',
    examples: [['etcd-warden delete 20261122T100000123Z-k3f9qa', 'by id']],
    options: [['--store <name>', 'on this store only']],
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/delete.ts'),
  },
  {
    name: 'accept-cluster',
    summary: 'accept a new cluster id or a history that moved back',
    description:
      'After a restore or a rebuilt cluster the daemon opens a new generation, alarms, and prunes nothing across it. This accepts the newest generation as the right one. Of each older one the newest verified backup stays until `release` names it.',
    examples: [['etcd-warden accept-cluster --cluster prod --reason "restored on 22 November"', 'recorded in the stores']],
    options: [['--reason <text>', 'why']],
    needs: 'stores',
    changes: true,
    load: () => import('./verbs/accept-cluster.ts'),
  },
  {
    name: 'status',
    summary: 'the cluster and how it is protected',
    description:
      'Members, leader, sizes, alarms, linearizable-read latency of each member, and what is protected since when.\nExit code 1 when a member is down or raises an alarm, quorum is lost, nothing is protected, or the newest verified backup is too old.',
    examples: [
      ['etcd-warden status', 'with the configuration file'],
      ['etcd-warden status --endpoints 127.0.0.1:2379 --from /var/backups/etcd', 'without a file'],
    ],
    shows: REACHING_ETCD,
    needs: 'cluster',
    changes: false,
    load: () => import('./verbs/status.ts'),
  },
  {
    name: 'config',
    arguments: '<action>',
    choices: ['check', 'print', 'docs'],
    summary: 'check, print or document the configuration',
    description:
      '`check` lists every error at once; `print` shows the merged result with secrets masked and where each value came from; `docs` prints the reference.',
    examples: [
      ['etcd-warden config check --config ./config.yaml', 'exit code 2 when something is wrong'],
      ['etcd-warden config print', 'what would be used, and why'],
      ['etcd-warden config docs', 'every option, flag and variable; no configuration is looked at'],
    ],
    needs: 'none',
    changes: false,
    load: () => import('./verbs/config.ts'),
    alone: { docs: async () => (await import('./verbs/config.ts')).documentation() },
  },
  {
    name: 'healthcheck',
    summary: 'ask the daemon on this machine whether it lives',
    description: 'GETs /healthz of the configured listener; for container images without a shell.',
    examples: [['etcd-warden healthcheck', 'exit code 0 when it answers']],
    needs: 'none',
    changes: false,
    hidden: true,
    load: () => import('./verbs/healthcheck.ts'),
  },
];
