import { expect, test } from 'vitest';
import { silentLogger } from '../../telemetry/logger.ts';
import type { Head } from '../../mvcc/head.ts';
import type { Examined } from '../../mvcc/examination/types.ts';
import { BackupProof, type BackupVerdict, type ProofSetting } from './proof.ts';

const head: Head = {
  revision: 41n,
  compactRevision: 12n,
  compactionFinished: 12n,
  consistentIndex: 90n,
  term: 2n,
  storageVersion: '3.7.0',
  etcdSchema: '3.6+',
  alarms: [],
};

/** Without a cluster: whoever asked one would fail. */
async function verdictOn(storageVersion: string, enabled = true): Promise<BackupVerdict> {
  const context = { signal: new AbortController().signal, logger: silentLogger, progress: () => {} };
  const proof = new BackupProof({ cluster: { proof: { enabled } }, context } as unknown as ProofSetting);
  const found = { ...head, storageVersion };
  try {
    proof.begin(found);
    const examined: Examined = {
      head: found,
      keyCount: 1,
      recordCount: 1,
      kubernetes: false,
      hashKv: () => Promise.reject(new Error('nobody asks')),
    };
    return await proof.finish({ head: found, examined, file: { size: 0, read: () => Promise.reject(new Error('nobody reads')) } });
  } finally {
    proof.close();
  }
}

test('bad input: a backup of a newer schema is published unproved, and no member is asked to hash for nothing', async () => {
  const reason = 'its proof would be a guess: it was written by etcd 3.8, and this version knows etcd up to 3.7';
  expect(await verdictOn('3.8.0')).toEqual({
    unproved: { code: 'newer-schema', reason },
    warnings: [{ code: 'unproved', message: `not compared with the cluster: ${reason}` }],
  });
});

test('a storage version that is none cannot be judged, and costs the proof alone', async () => {
  expect(await verdictOn('latest')).toMatchObject({ unproved: { code: 'not-etcd' } });
});

test('whoever hashes for a file that was given up is waited for, and a failure of that is heard later', async () => {
  const context = { signal: new AbortController().signal, logger: silentLogger, progress: () => {} };
  const asked = Promise.withResolvers<void>();
  const view = {
    get members(): never {
      asked.resolve();
      throw new Error('no view');
    },
  };
  const proof = new BackupProof({ cluster: { proof: { enabled: true } }, context, view } as unknown as ProofSetting);
  await proof.settled();
  proof.begin(head);
  await proof.settled();
  await asked.promise;
  proof.close();
});

test('proofs that are switched off are not asked for, whatever wrote the file', async () => {
  for (const version of ['3.7.0', '3.8.0'])
    expect(await verdictOn(version, false)).toMatchObject({ unproved: { code: 'disabled' }, warnings: [] });
});
