/** The log and the .snap file of a restored member, held against those of etcd's own tool of every release. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { encodeSnap, snapFileName } from '../../../src/restore/directory/snap.ts';
import { encodeWal, WAL_FILE_BYTES, WAL_FILE_NAME } from '../../../src/restore/directory/wal.ts';
import { newCluster, parseInitialCluster } from '../../../src/restore/identity.ts';
import { ETCD_MINORS, program, type EtcdMinor } from '../../../tools/programs.ts';
import { startCluster } from '../../support/cluster.ts';
import { run } from '../../support/processes.ts';
import { removeFolder, temporaryFolder } from '../../support/watchdog.ts';

const CLUSTERS: Readonly<Record<number, string>> = {
  1: 'm1=https://10.0.0.1:2380',
  2: 'b<&>=https://etcd-b.example.org:2380,a=https://etcd-a.example.org:2380',
  3: 'm3=http://10.0.0.3:2380,m2=http://10.0.0.2:2381,m2=http://10.0.0.2:2380,m1=http://10.0.0.1:2380',
  5: '1=https://[2001:db8::1]:2380,2=https://[2001:db8::2]:2380,3=https://[2001:db8::3]:2380,4=https://[::4]:2380,5=https://[::5]:2380',
};
const TOKEN = 'a token of its own';
const ZEROS = Buffer.alloc(WAL_FILE_BYTES);

let folder: string;
let snapshot: string;
beforeAll(async () => {
  folder = temporaryFolder('wal');
  snapshot = join(folder, 'snapshot.db');
  // Every later release takes a snapshot of 3.4.
  await using cluster = await startCluster({ minor: '3.4', members: 1 });
  await cluster.etcdctl(['put', 'a', 'b']);
  await cluster.etcdctl(['snapshot', 'save', snapshot]);
  return () => removeFolder(folder);
});

describe.each(ETCD_MINORS)('etcd %s', (minor) => {
  test.each([1, 2, 3, 5])('the log and the .snap file of each of %i members are those that its own tool writes', async (count) => {
    const cluster = newCluster(parseInitialCluster(CLUSTERS[count]!), TOKEN);
    expect(cluster.members).toHaveLength(count);
    // The log differs from member to member in the id alone: the first and the last show that it is the right one.
    for (const member of new Set([cluster.members[0]!, cluster.members.at(-1)!])) {
      const dataDir = join(folder, `${minor}-${count}-${member.id}`);
      await restoreWithTool(minor, count, member.name, member.peerUrls, dataDir);
      const theirs = readFileSync(join(dataDir, 'member/wal', WAL_FILE_NAME));
      const ours = encodeWal(member, cluster, minor);
      expect(theirs.length).toBe(WAL_FILE_BYTES);
      expect(ours.toString('hex')).toBe(theirs.subarray(0, ours.length).toString('hex'));
      expect(theirs.subarray(ours.length).equals(ZEROS.subarray(ours.length))).toBe(true);

      const snapPath = join(dataDir, 'member/snap', snapFileName(cluster));
      expect(statSync(snapPath).isFile()).toBe(true);
      const [theirSnap, ourSnap] = [readFileSync(snapPath), encodeSnap(cluster, minor)].map(partsOfSnap);
      expect(ourSnap).toEqual(theirSnap);
      removeFolder(dataDir);
    }
  });
});

async function restoreWithTool(minor: EtcdMinor, count: number, name: string, peerUrls: readonly string[], dataDir: string): Promise<void> {
  const tool = minor === '3.4' ? program('etcdctl', minor) : program('etcdutl', minor);
  await run(tool, [
    'snapshot',
    'restore',
    snapshot,
    `--name=${name}`,
    `--initial-cluster=${CLUSTERS[count]!}`,
    `--initial-cluster-token=${TOKEN}`,
    `--initial-advertise-peer-urls=${peerUrls.join(',')}`,
    `--data-dir=${dataDir}`,
  ]);
}

const END = '"CurrentVersion":2}';

/** What etcd reads of it: the metadata byte for byte, and of the v2 store who the members are. */
function partsOfSnap(file: Buffer): unknown {
  const end = file.lastIndexOf(END) + END.length;
  const store = JSON.parse(file.subarray(file.indexOf('{"Root"'), end).toString()) as {
    Root: Node;
    CurrentIndex: number;
    CurrentVersion: number;
  };
  return {
    metadata: file.subarray(end).toString('hex'),
    root: withoutIndexes(store.Root),
    index: store.CurrentIndex,
    version: store.CurrentVersion,
  };
}

interface Node {
  readonly Path: string;
  readonly ExpireTime: string;
  readonly Value: string;
  readonly Children: Readonly<Record<string, Node>> | null;
}

/** 3.7 numbers the members in the order of a Go map, another one in every run. */
function withoutIndexes({ Path, ExpireTime, Value, Children }: Node): unknown {
  const children = Children === null ? null : Object.entries(Children).map(([name, child]) => [name, withoutIndexes(child)]);
  return { Path, ExpireTime, Value, children: children?.toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1)) ?? null };
}
