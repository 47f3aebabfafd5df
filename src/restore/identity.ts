/**
 * Who the members of a restored cluster are. Their ids follow from peer URLs and token alone, and the cluster's id from theirs, so that invocations on several
 * machines that know nothing of each other make one cluster, and none that could be taken for the old one.
 *
 * Sources: etcd client/pkg/types (urls.go, urlsmap.go), server/etcdserver/api/membership (member.go computeMemberID, cluster.go genID), the same from 3.4 to 3.7.
 */
import { createHash } from 'node:crypto';
import { WardenError } from '../errors.ts';
import { byBytes, parsePeerUrl } from '../etcd/peer-urls.ts';
import type { Content, NewCluster, NewMember } from './types.ts';

/** Peer URLs by the name of their member, each list in the order of its bytes. */
export type InitialCluster = ReadonlyMap<string, readonly string[]>;

/** What a token is derived from. */
export interface TokenParts {
  /** Backup id, or SHA-256 of a file's database in hex. */
  readonly identity: string;
  readonly initialCluster: InitialCluster;
  /** From 1; another one makes a cluster that never talks to the earlier ones. */
  readonly attempt: number;
  /** What goes into the database: invocations that differ in it must not form one cluster. */
  readonly content: Content;
}

const EXAMPLE = 'as in m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380';

/**
 * Reads `--initial-cluster` as etcd does: `name=url` joined by commas, a name once for each of its URLs.
 * @throws WardenError `usage` for what etcd would refuse, and for two members with one URL
 */
export function parseInitialCluster(text: string): InitialCluster {
  const members = new Map<string, string[]>();
  for (const part of text.split(',').map((each) => each.trim())) {
    const at = part.indexOf('=');
    const name = part.slice(0, Math.max(at, 0)).trim();
    if (at < 0 || name === '') throw wrong(`${JSON.stringify(part)} in the initial cluster is no name=url`, EXAMPLE);
    members.set(name, [...(members.get(name) ?? []), parsePeerUrl(part.slice(at + 1), name)]);
  }
  const owners = new Map<string, string>();
  for (const [name, urls] of members) {
    urls.sort(byBytes);
    for (const url of urls) {
      const owner = owners.get(url);
      if (owner !== undefined)
        throw wrong(
          owner === name ? `member ${name} has the peer URL ${url} twice` : `members ${owner} and ${name} have the same peer URL ${url}`,
          'each member needs peer URLs of its own',
        );
      owners.set(url, name);
    }
  }
  return members;
}

/** In one form whatever the order it was typed in: sorted by name, then by URL. */
export function formatInitialCluster(members: InitialCluster): string {
  return [...members]
    .toSorted(([a], [b]) => byBytes(a, b))
    .flatMap(([name, urls]) => urls.map((url) => `${name}=${url}`))
    .join(',');
}

/**
 * The token of the cluster that these make: the same on every machine, another one for every attempt and for every other content. What is restored whole has a
 * token that depends on backup, members and attempt alone.
 */
export function deriveToken({ identity, initialCluster, attempt, content }: TokenParts): string {
  const parts = ['etcd-warden restore', identity, formatInitialCluster(initialCluster), String(attempt), ...contentParts(content)];
  return `restore-${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24)}`;
}

/** @throws WardenError `usage` when two members come out with one id */
export function newCluster(initialCluster: InitialCluster, token: string): NewCluster {
  const members = [...initialCluster]
    .map(([name, peerUrls]): NewMember => ({ name, peerUrls, id: idOf([...peerUrls, token].join('')) }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const ids = Buffer.alloc(8 * members.length);
  members.forEach(({ id }, index) => ids.writeBigUInt64BE(id, 8 * index));
  return { token, clusterId: idOf(ids), members };
}

function idOf(data: string | Buffer): bigint {
  return createHash('sha1').update(data).digest().readBigUInt64BE(0);
}

function contentParts({ revision, only, without, bump }: Content): string[] {
  const prefixes = (name: string, list: readonly Buffer[]): string[] =>
    list.length === 0
      ? []
      : [
          `${name}=${list
            .map((each) => each.toString('hex'))
            .toSorted(byBytes)
            .join()}`,
        ];
  return [
    ...(revision === undefined ? [] : [`revision=${revision}`]),
    ...prefixes('only', only),
    ...prefixes('without', without),
    ...(bump === 'auto' ? [] : [bump === 'none' ? 'no-bump' : `bump=${bump.by}`]),
  ];
}

function wrong(sentence: string, hint: string): WardenError {
  return new WardenError('usage', sentence, { hint });
}
