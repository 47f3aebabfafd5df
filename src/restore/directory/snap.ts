/**
 * The .snap file beside the database, from which 3.4 to 3.6 load who the members are: the v2 store as JSON in a raft snapshot in a frame with its CRC. etcdutl of
 * 3.7 writes one too although its etcd takes the members from the database.
 *
 * Sources: etcd server/etcdserver/api/snap (snapshotter.go, snappb), api/v2store (store.go, node.go), api/membership (storev2.go).
 */
import { updateCrc32c } from '../../mvcc/crc32c/crc32c.ts';
import type { EtcdMinor, NewCluster } from '../types.ts';
import { goString, raftAttributesJson } from './member-json.ts';
import { encodeConfState } from './wal.ts';
import { bytesField, numberField } from './wire.ts';

const TERM = 1;
const V2_STORE_VERSION = 2;

/** Term and index in hex: etcd takes the file with the highest that its WAL has a record of. */
export function snapFileName(cluster: NewCluster): string {
  return `${hex16(TERM)}-${hex16(cluster.members.length)}.snap`;
}

export function encodeSnap(cluster: NewCluster, minor: EtcdMinor): Buffer {
  const metadata = Buffer.concat([
    bytesField(1, encodeConfState(cluster, minor)),
    numberField(2, cluster.members.length),
    numberField(3, TERM),
  ]);
  const snapshot = Buffer.concat([bytesField(1, encodeV2Store(cluster)), bytesField(2, metadata)]);
  return Buffer.concat([numberField(1, updateCrc32c(0, snapshot)), bytesField(2, snapshot)]);
}

/**
 * Only what etcd reads back: the tree and where it stands. Statistics and the history of events (a thousand empty places of it) are left out: what the JSON does
 * not name keeps the value it has in an empty store.
 */
function encodeV2Store({ members }: NewCluster): Buffer {
  const nodes = members.map(({ id, peerUrls }, index) => {
    const path = `/0/members/${id.toString(16)}`;
    const attributes = node(`${path}/raftAttributes`, index + 1, raftAttributesJson(peerUrls), undefined);
    return [id.toString(16), node(path, index + 1, '', [['raftAttributes', attributes]])] as const;
  });
  const root = node('/', 0, '', [
    ['0', node('/0', 0, '', [['members', node('/0/members', 1, '', nodes)]])],
    ['1', node('/1', 0, '', [])],
  ]);
  return Buffer.from(`{"Root":${root},"CurrentIndex":${members.length},"CurrentVersion":${V2_STORE_VERSION}}`);
}

/** A folder when it has children (perhaps none), else a value. */
function node(path: string, index: number, value: string, children: readonly (readonly [string, string])[] | undefined): string {
  const inside = children === undefined ? 'null' : `{${children.map(([name, child]) => `"${name}":${child}`).join(',')}}`;
  // The zero time of Go: never expires.
  return `{"Path":"${path}","CreatedIndex":${index},"ModifiedIndex":${index},"ExpireTime":"0001-01-01T00:00:00Z","Value":${goString(value)},"Children":${inside}}`;
}

function hex16(value: number): string {
  return value.toString(16).padStart(16, '0');
}
