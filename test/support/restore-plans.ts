/** Inputs of a plan as a prepared restore has them: three members, one on this machine, and a backup of main in a folder. */
import { deriveToken, newCluster, parseInitialCluster } from '../../src/restore/identity.ts';
import type { PlanInput, PlanSource } from '../../src/restore/plan/types.ts';
import type { Content } from '../../src/restore/types.ts';

export const PLANNED_ID = '20261122T100000123Z-k3f9qa';

export const WHOLE: Content = { revision: undefined, only: [], without: [], defragmented: false, bump: 'auto' };

export function plannedSource(changes: Partial<PlanSource> = {}): PlanSource {
  return {
    kind: 'backup',
    name: PLANNED_ID,
    time: '2026-11-22T10:00:00.123Z',
    askedTime: undefined,
    cluster: 'main',
    revision: '12345',
    compactRevision: '10000',
    databaseBytes: 2 ** 28,
    storedBytes: 2 ** 25,
    etcdVersion: '3.6.16',
    kubernetes: false,
    auth: false,
    suspect: undefined,
    alarms: [],
    encrypted: false,
    stores: [
      {
        name: 'disk',
        address: '/var/backups/etcd',
        local: true,
        objects: [`main/${PLANNED_ID}.db.zst`, `main/${PLANNED_ID}.r12345.json`],
      },
    ],
    ...changes,
  };
}

/** @param members as `--initial-cluster` takes them */
export function plannedInput(
  changes: Partial<PlanInput> = {},
  members = 'm1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380',
): PlanInput {
  const initialCluster = parseInitialCluster(members);
  const content = changes.content ?? WHOLE;
  const attempt = changes.attempt ?? 1;
  const source = changes.source ?? plannedSource();
  const token = deriveToken({ identity: source.name, initialCluster, attempt, content });
  return {
    time: '2026-11-23T01:00:00.000Z',
    source,
    cluster: newCluster(initialCluster, token),
    tokenGiven: false,
    attempt,
    content,
    minor: '3.6',
    minorReason: 'the backup is of 3.6.16',
    builder: { name: 'native', reason: 'no etcdutl was found' },
    builderAsked: 'auto',
    platform: 'systemd',
    platformReason: 'etcd.service is in /lib/systemd/system',
    unit: undefined,
    targets: [...initialCluster.keys()].map((member, index) => ({
      member,
      dataDir: '/var/lib/etcd',
      walDir: undefined,
      here: index === 0,
      occupied: index === 0 ? true : undefined,
      clientUrls: undefined,
    })),
    owner: undefined,
    acceptSuspect: false,
    sourceFlags: ['--from', '/var/backups/etcd'],
    accessFlags: [],
    ...changes,
  };
}
