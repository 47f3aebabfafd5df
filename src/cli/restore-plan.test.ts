import { describe, expect, test } from 'vitest';
import { plannedInput, plannedSource } from '../../test/support/restore-plans.ts';
import { planRestore } from '../restore/plan/plan.ts';
import type { PlanInput, RestorePlan } from '../restore/plan/types.ts';
import { PLATFORMS } from '../restore/types.ts';
import { memberText, planText } from './restore-plan.ts';

const text = (changes: Partial<PlanInput> = {}, members?: string): string => planText(planRestore(plannedInput(changes, members)));

describe('the plan for people', () => {
  test('says what is made, then what to do in order, then what no snapshot holds', () => {
    const source = plannedSource({ askedTime: '2026-11-22T11:30:00.000Z' });
    expect(text({ platform: 'systemd', source }, 'm1=http://10.0.0.1:2380')).toMatchInlineSnapshot(`
      "backup      20261122T100000123Z-k3f9qa of main
      taken       2026-11-22T10:00:00.123Z, 1h30m before the time that was asked for
                  (2026-11-22T11:30:00.000Z)
      revision    12345 (history from 10000 on)
      size        256 MiB, 32.0 MiB stored
      lies in     disk (/var/backups/etcd)
      platform    systemd: etcd.service is in /lib/systemd/system
      etcd        3.6: the backup is of 3.6.16
      builder     native: no etcdutl was found
      token       restore-11a379cb7a5eaa83b256a882 (derived from the backup, the initial cluster and
                  attempt 1)
      cluster id  8d1edecfa8453111
      members     m1 91f863d6e6547fec http://10.0.0.1:2380
      revisions   not raised: it holds no keys of Kubernetes. --bump-revision raises them all the same,
                  where other clients cache revisions.

      warning: what was written between the backup and the time that was asked for is not in it

      warning: client URLs are assumed: port 2379 of the host of the first peer URL

      1. stop everything that writes to this cluster, wherever its clients run
         what is written from now on is lost, and a client that sees the new cluster half built acts on it

      2. stop every etcd of the old cluster, on each member's machine
         a member that goes on keeps its directory in use, holds the ports, and serves the old data; all
         of them, before the first restore

          systemctl stop etcd
          ! systemctl is-active etcd

      3. restore, on this machine (m1)
         verifies the backup while it builds beside, and takes the name only when all of it is right; what
         stood there is kept

          etcd-warden restore 20261122T100000123Z-k3f9qa --from /var/backups/etcd --member m1 --initial-cluster m1=http://10.0.0.1:2380 --data-dir /var/lib/etcd --etcd-version 3.6 --replace

      4. see that etcd is started with these, on this machine (m1)
         a restored directory knows its members, and etcd reads the initial-* settings only where it finds
         none: with \`existing\` a member whose directory is wrong or empty gets the data from the others or
         does not start; with \`new\` and this token it would serve an empty database, and nobody would
         notice
         note: name, directories and URLs have to be right; the other settings of that etcd stay as they
         are (certificates, quota, ...)

          --name=m1
          --data-dir=/var/lib/etcd
          --listen-peer-urls=http://10.0.0.1:2380
          --listen-client-urls=http://10.0.0.1:2379
          --advertise-client-urls=http://10.0.0.1:2379
          --initial-advertise-peer-urls=http://10.0.0.1:2380
          --initial-cluster=m1=http://10.0.0.1:2380
          --initial-cluster-token=restore-11a379cb7a5eaa83b256a882
          --initial-cluster-state=existing

         or as environment, never both: etcd does not start with a setting in both

          ETCD_NAME=m1
          ETCD_DATA_DIR=/var/lib/etcd
          ETCD_LISTEN_PEER_URLS=http://10.0.0.1:2380
          ETCD_LISTEN_CLIENT_URLS=http://10.0.0.1:2379
          ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:2379
          ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.1:2380
          ETCD_INITIAL_CLUSTER=m1=http://10.0.0.1:2380
          ETCD_INITIAL_CLUSTER_TOKEN=restore-11a379cb7a5eaa83b256a882
          ETCD_INITIAL_CLUSTER_STATE=existing

      5. start every etcd, on each member's machine
         it serves as soon as it is up

          systemctl start --no-block etcd

      6. check what was restored, on this machine (m1)
         asks every member for the members, alarms, revision and HashKV that the restore recorded: it is
         restored when this says so

          etcd-warden restore --check --endpoints http://10.0.0.1:2379 --record /var/lib/etcd.restore.json

      7. start the clients, wherever they run
         only now: what they write before the check cannot be told from what was restored

      8. when all is well, days later: remove what was kept, on each member's machine
         the old directories are the way back, and hold everything that the cluster held

          find /var/lib -maxdepth 2 -name '*.before-restore-*'

      Not in any snapshot:
      - the PKI of etcd: CA, and each member's server, peer and client certificates with their keys (where
        --trusted-ca-file, --cert-file, --key-file and the --peer-* ones of etcd point)
      - the settings of etcd: quota, compaction, listen URLs, ... (its unit, environment file or
        configuration file)"
    `);
  });

  test('has commands on lines of their own, and everything else within 100 columns', () => {
    for (const platform of PLATFORMS)
      for (const kubernetes of [true, undefined]) {
        const plan = planRestore(
          plannedInput({ platform, source: plannedSource({ kubernetes, encrypted: true, alarms: ['NOSPACE', 'CORRUPT'] }) }),
        );
        const lines = planText(plan).split('\n');
        for (const line of lines) if (!line.startsWith('    ')) expect(line.length).toBeLessThanOrEqual(100);
        for (const { commands } of plan.steps) for (const command of commands) expect(lines).toContain(`    ${command}`);
        expect(planText(plan)).not.toMatch(/\n\n\n|undefined/u);
        expect(planText(JSON.parse(JSON.stringify(plan)) as RestorePlan)).toBe(planText(plan));
      }
  });

  test('numbers steps of several members once', () => {
    const plan = text();
    expect(plan.match(/^\d+\. .*$/gmu)).toEqual([
      '1. bring the backup to the machines that do not have it',
      '2. stop everything that writes to this cluster, wherever its clients run',
      "3. stop every etcd of the old cluster, on each member's machine",
      '4. restore',
      '5. see that etcd is started with these',
      "6. start every etcd, on each member's machine",
      '7. check what was restored, on this machine (m1)',
      '8. start the clients, wherever they run',
      "9. when all is well, days later: remove what was kept, on each member's machine",
    ]);
    expect(plan).toContain('\n   on m2 (10.0.0.2)\n\n    etcd-warden restore ');
  });

  test('says what a file is, as far as that is known', () => {
    const source = plannedSource({
      kind: 'file',
      name: '/srv/snap\u001b[31m.db',
      time: undefined,
      cluster: undefined,
      revision: '7',
      compactRevision: undefined,
      storedBytes: undefined,
      stores: [],
      encrypted: true,
    });
    expect(text({ source, tokenGiven: true }).split('\n').slice(0, 3)).toEqual([
      'file        /srv/snap\\x1b[31m.db',
      'revision    7',
      'size        256 MiB, encrypted',
    ]);
    expect(text({ source, tokenGiven: true })).toContain('(as given)');
    expect(text({ source: { ...source, revision: undefined } })).not.toContain('revision    7');
    expect(text({ source: { ...source, compactRevision: '0' } })).toContain('revision    7 (nothing of it was ever compacted)');
  });

  test('says when the backup is of later than the time that was asked for', () => {
    expect(text({ source: plannedSource({ askedTime: '2026-11-22T09:00:00.123Z' }) })).toContain('1h after the time that was asked for');
  });

  test('says from what to what revisions are raised, or when', () => {
    expect(text({ source: plannedSource({ kubernetes: true }) })).toContain(
      'revisions   raised by 1000000000, from 12345 to 1000012345: it holds keys of',
    );
    expect(text({ source: plannedSource({ kubernetes: undefined, revision: undefined }) })).toContain(
      'revisions   raised by 1000000000, when keys of Kubernetes',
    );
  });

  test('says how a machine without etcd-warden makes its member, or why it cannot', () => {
    expect(text()).toContain('In place of `etcd-warden restore`, for a machine without etcd-warden');
    expect(text({ source: plannedSource({ kubernetes: true }) })).toContain('cannot make its member with etcdutl: revisions are raised');
    expect(text({}, 'm1=http://10.0.0.1:2380')).not.toContain('without etcd-warden');
  });
});

describe('what is left for a member that was restored', () => {
  test('is what comes after its restore, for nobody else', () => {
    const left = memberText(planRestore(plannedInput({ platform: 'plain' })), 'm2');
    expect(left.match(/^\d+\. .*$/gmu)).toEqual([
      '1. see that etcd is started with these, on m2 (10.0.0.2)',
      '2. start every etcd, on m2 (10.0.0.2)',
      '3. check what was restored, on this machine (m1)',
      '4. start the clients, wherever they run',
      "5. when all is well, days later: remove what was kept, on each member's machine",
    ]);
    expect(left).not.toContain('--name=m1');
  });
});
