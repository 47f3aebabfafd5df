import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareHashes } from '../../../src/member/hashes.ts';
import { lookAtMembers } from '../../../src/member/sight.ts';
import type { MembershipSight } from '../../../src/member/types.ts';
import { startCluster, type Cluster } from '../../support/cluster.ts';

const HASH_KV = 'etcdserverpb.Maintenance/HashKV';
const context = { signal: new AbortController().signal, progress: () => {} };

let cluster: Cluster;
let other: Cluster;
beforeAll(async () => {
  [cluster, other] = await Promise.all([
    startCluster({ minor: '3.6', members: 3, proxies: true }),
    startCluster({ minor: '3.6', members: 1 }),
  ]);
  // As many revisions, and other values.
  await cluster.fill({ keys: 300, valueBytes: 100, seed: 1 });
  await other.fill({ keys: 300, valueBytes: 100, seed: 2 });
});
afterAll(() => Promise.all([cluster?.stop(), other?.stop()]));

function look(which: Cluster): Promise<MembershipSight> {
  return lookAtMembers({ access: which.access(), signal: context.signal });
}

test('members are asked one at a time, the leader last', async () => {
  const asked: string[] = [];
  let atOnce = 0;
  let most = 0;
  for (const member of cluster.members) {
    cluster.proxyOf(member).intercept(HASH_KV, {
      before: () => {
        asked.push(member.name);
        most = Math.max(most, ++atOnce);
      },
      after: () => {
        atOnce--;
      },
    });
  }
  const result = await compareHashes(await look(cluster), { access: cluster.access(), context });
  for (const member of cluster.members) cluster.proxyOf(member).heal();
  expect(result).toMatchObject({ verdict: 'agree', members: [{ error: undefined }, { error: undefined }, { error: undefined }] });
  expect(asked.toSorted((a, b) => a.localeCompare(b))).toEqual(['m1', 'm2', 'm3']);
  expect(asked.at(-1)).toBe((await cluster.leader()).name);
  expect(most).toBe(1);
});

test('a compaction that comes between two answers is no difference', async () => {
  const leader = await cluster.leader();
  let compacted = false;
  cluster.proxyOf(leader).intercept(HASH_KV, {
    before: async () => {
      if (!compacted) await cluster.etcdctl(['compact', '2', '--physical']);
      compacted = true;
    },
  });
  const result = await compareHashes(await look(cluster), { access: cluster.access(), context });
  cluster.proxyOf(leader).heal();
  expect(result).toMatchObject({ verdict: 'agree', members: [{ compactRevision: 2n }, { compactRevision: 2n }, { compactRevision: 2n }] });
});

test('different data is told as that, and a member that gives no hash as neither', async () => {
  const [ours, theirs] = await Promise.all([look(cluster), look(other)]);
  const [stranger] = theirs.members;
  const access = cluster.access();
  const mixed = { ...ours, members: [...ours.members.slice(0, 1), { ...stranger!, name: 'm9' }] };
  // Both have never been compacted, or both up to the same revision.
  await other.etcdctl(['compact', '2', '--physical']);
  const differing = await compareHashes(mixed, { access, context });
  expect(differing).toMatchObject({
    verdict: 'differ',
    message: expect.stringMatching(/^members have different data at revision \d+: m\d [0-9a-f]+, m\d [0-9a-f]+$/),
  });
  const elsewhere = {
    ...ours,
    members: ours.members.map((member, index) => (index === 0 ? { ...member, endpoint: stranger!.endpoint } : member)),
  };
  const unclear = await compareHashes(elsewhere, { access, context });
  expect(unclear).toMatchObject({ verdict: 'unclear', message: expect.stringContaining('another member answers at') });
  // All who answer agree, and all is not who answers.
  const without = { ...ours, members: ours.members.map((member, index) => (index === 0 ? { ...member, reachable: false } : member)) };
  expect(await compareHashes(without, { access, context })).toMatchObject({
    verdict: 'unclear',
    message: expect.stringContaining(`not every member gave a hash of revision`),
    members: [{ hash: undefined, error: { code: 'unreachable' } }, { hash: expect.any(Number) }, { hash: expect.any(Number) }],
  });
});
