import { expect, test } from 'vitest';
import { askEndpoints } from '../../../src/restore/live-ask.ts';
import { startCluster } from '../../support/cluster.ts';

const { signal } = new AbortController();

/** Their peer ports may want a certificate that nobody here has: then the client endpoints tell, and users may be needed there. */
test.each(['3.4', '3.6', '3.7'] as const)(
  'a cluster of etcd %s with users is seen at its client endpoints by who may log in',
  async (minor) => {
    await using running = await startCluster({ minor, auth: true });
    const [member] = running.members;
    const { clusterId } = await member!.status();
    const limits = { signal, patienceMs: 5_000 };
    const [sight, ...others] = await askEndpoints(running.access(), limits);
    expect(others).toEqual([]);
    expect(sight).toMatchObject({ clusterId, peerUrls: [member!.peer], started: [member!.peer] });
    // To strangers 3.4.23 tells it all the same.
    expect(await askEndpoints(running.access({ user: undefined, password: undefined }), limits)).toHaveLength(minor === '3.4' ? 1 : 0);
    const nobody = running.access({ user: 'nobody', password: () => 'wrong' });
    expect(await askEndpoints(nobody, limits)).toHaveLength(minor === '3.4' ? 1 : 0);
  },
);
