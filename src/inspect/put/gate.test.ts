import { describe, expect, test } from 'vitest';
import { sampleManifest } from '../../../test/support/manifests.ts';
import type { Backup } from '../../catalog/types.ts';
import type { Alarm, ClusterView, MemberStatus } from '../../etcd/types.ts';
import { clusterBar, keysBar, warningsOf } from './gate.ts';
import type { Change, PutPlan } from './types.ts';

const NOTHING = { acceptCluster: false, kubernetes: false };
const BACKUP = { manifest: sampleManifest({ clusterId: 'abc' }), suspect: undefined } as Backup;

function view(changes: { clusterId?: bigint; quorum?: boolean; alarms?: readonly Alarm[] } = {}): ClusterView {
  const { clusterId = 0xabcn, quorum = true, alarms = [] } = changes;
  const status = { alarms } as unknown as MemberStatus;
  return {
    clusterId,
    quorum,
    notes: [],
    members: [
      { reachable: false, endpoint: 'http://b:2379', name: 'b', error: new Error('down') },
      { reachable: true, endpoint: 'http://a:2379', status },
    ],
  };
}

function plan(changes: Partial<PutPlan> = {}): PutPlan {
  return { changes: [], same: 0, kubernetes: { keys: 0, encrypted: 0 }, keptOutLeases: 0, goneLeases: 0, own: 0, ...changes };
}

describe('what stands against putting keys back', () => {
  test('nothing, when the cluster is the one that was backed up and well', () => {
    expect(clusterBar(view(), BACKUP, NOTHING)).toBeUndefined();
    expect(keysBar(plan(), NOTHING)).toBeUndefined();
    expect(warningsOf(plan(), view(), BACKUP, true)).toEqual([]);
  });

  test('no quorum, NOSPACE and CORRUPT', () => {
    expect(clusterBar(view({ quorum: false }), BACKUP, NOTHING)).toMatchObject({ code: 'no-quorum' });
    expect(clusterBar(view({ alarms: [{ type: 'NOSPACE', memberId: 1n }] }), BACKUP, NOTHING)).toMatchObject({
      code: 'refused',
      message: expect.stringContaining('NOSPACE') as string,
      hint: 'compact, defragment and disarm the alarm first',
    });
    expect(clusterBar(view({ alarms: [{ type: 'CORRUPT', memberId: 0n }] }), BACKUP, NOTHING)).toMatchObject({ code: 'refused' });
  });

  test('another cluster, unless it is accepted; then it is a warning', () => {
    const other = view({ clusterId: 0xdefn });
    expect(clusterBar(other, BACKUP, NOTHING)).toMatchObject({
      code: 'refused',
      message: 'the backup is of cluster abc, the endpoints are of cluster def',
    });
    expect(clusterBar(other, BACKUP, { ...NOTHING, acceptCluster: true })).toBeUndefined();
    expect(warningsOf(plan(), other, BACKUP, false)).toEqual(['the backup is of cluster abc, these endpoints are of cluster def']);
  });

  test('a file of another tool tells no cluster, imported or not, which is said', () => {
    for (const backup of [undefined, { ...BACKUP, manifest: sampleManifest({ clusterId: '0' }) }]) {
      expect(clusterBar(view(), backup, NOTHING)).toBeUndefined();
      expect(warningsOf(plan(), view(), backup, false)).toEqual([
        'a snapshot of other tools does not tell which cluster it is of; these endpoints are of cluster abc',
      ]);
    }
  });

  test("an API server's keys, unless they are meant; then with a warning on UIDs, owners and encryption at rest", () => {
    const one = plan({ kubernetes: { keys: 1, encrypted: 1 } });
    const two = plan({ kubernetes: { keys: 2, encrypted: 2 } });
    expect(keysBar(one, NOTHING)).toMatchObject({ code: 'refused', message: 'a key belongs to a Kubernetes API server' });
    expect(keysBar(two, NOTHING)).toMatchObject({
      message: '2 keys belong to a Kubernetes API server',
      hint: expect.stringContaining('--kubernetes') as string,
    });
    expect(keysBar(two, { ...NOTHING, kubernetes: true })).toBeUndefined();
    expect(warningsOf(two, view(), BACKUP, false).join('\n')).toMatch(/UID.*owners.*resourceVersion[^]*are encrypted/);
    expect(warningsOf(one, view(), BACKUP, false)[1]).toContain('1 of the values is encrypted');
  });

  test('a suspect backup and every kind of lease are said', () => {
    const change = { kind: 'changed', liveLease: 5n, lease: 'keep' } as Change;
    const added = { kind: 'added', liveLease: 0n, lease: 7n } as Change;
    const leases = plan({ changes: [change, added], keptOutLeases: 2, goneLeases: 3, own: 1 });
    expect(warningsOf(leases, view(), { ...BACKUP, suspect: 'members disagreed' }, true)).toEqual([
      'the backup is suspect: members disagreed',
      '2 of the keys had a lease in the backup; leases are kept out (--with-lease)',
      "a key of the backup is etcd-warden's own (its lock, for one) and left out",
      '3 of the keys had a lease that no longer lives: they are put without',
      '1 of the keys hang on a lease of the live cluster, and will end with it',
      'keys that are put with their lease end with it',
    ]);
    expect(warningsOf(plan({ own: 3 }), view(), BACKUP, false)[0]).toMatch(/^3 keys of the backup are etcd-warden's own/);
  });
});
