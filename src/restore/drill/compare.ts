/**
 * What the scratch etcd answers, against the restore record and the backup. Whatever differs is `verification-failed`; whoever could not be asked is no difference.
 * Messages name revisions, never keys or values: they go into logs and check objects.
 */
import { randomUUID } from 'node:crypto';
import { WardenError } from '../../errors.ts';
import type { RestoreRecord } from '../../format/restore-record.ts';
import { CoordinationClient } from '../../etcd/coordination-client.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { ClusterAccess, MemberStatus } from '../../etcd/types.ts';
import { knownWrongHash } from '../../etcd/versions.ts';
import type { KeyValue } from '../../mvcc/key-value.ts';

/** HashKV of gigabytes that are not in memory, at the lowest priority. */
const HASH_MS = 60 * 60_000;
/** A value has at most 1.5 MiB unless etcd was told otherwise. */
const MAX_REPLY = 256 * 2 ** 20;
/** etcd's way to say "the least key" and "no end". */
const NUL = Buffer.alloc(1);

export class Comparison {
  readonly #record: RestoreRecord;
  readonly #member: MemberClient;
  readonly #keys: CoordinationClient;
  readonly #signal: AbortSignal;

  constructor(access: ClusterAccess, record: RestoreRecord, signal: AbortSignal) {
    this.#record = record;
    this.#signal = signal;
    this.#member = new MemberClient(access, access.endpoints[0]!);
    this.#keys = new CoordinationClient(access, MAX_REPLY);
  }

  close(): void {
    this.#member.close();
    this.#keys.close();
  }

  /**
   * Who it is, and HashKV at the record's revision: leases that end after a restore change later revisions only.
   * @returns the release that answered
   * @throws WardenError `verification-failed`; `unproved` where this release's own hash cannot be trusted
   */
  async record(): Promise<string> {
    const { revision, compactRevision, hash, clusterId, members } = this.#record;
    const status = await this.#member.status(this.#signal);
    this.#identity(status, clusterId, members);
    if (status.revision < BigInt(revision)) throw differs(`etcd has revision ${status.revision}, ${revision} was restored`);
    const alarm = status.alarms[0]?.type;
    if (alarm !== undefined) throw differs(`the alarm ${alarm} is armed on a cluster that was just restored`);
    const answer = await this.#member.hashKv(BigInt(revision), { timeoutMs: HASH_MS, signal: this.#signal });
    if (String(answer.compactRevision) !== compactRevision)
      throw differs(`etcd has compact revision ${answer.compactRevision}, the restore record says ${compactRevision}`);
    if (answer.hash !== hash) {
      const known = knownWrongHash(status.version);
      const sentence = `HashKV at revision ${revision} is ${answer.hash}, the restore record says ${hash}`;
      if (known === undefined) throw differs(sentence);
      throw new WardenError('unproved', `${sentence}; but ${known}`, { hint: 'drill with a later release of etcd (drill.etcd)' });
    }
    return status.version;
  }

  #identity(status: MemberStatus, clusterId: string, members: RestoreRecord['members']): void {
    const [own] = members;
    if (status.clusterId.toString(16) !== clusterId)
      throw differs(`etcd has cluster id ${status.clusterId.toString(16)}, the restore record says ${clusterId}`);
    if (status.memberId.toString(16) !== own?.id)
      throw differs(`etcd has member id ${status.memberId.toString(16)}, the restore record says ${own?.id}`);
  }

  /** The members are exactly the new one, and it votes. @throws WardenError `verification-failed` */
  async members(): Promise<void> {
    const { members } = await this.#member.memberList({ linearizable: true, signal: this.#signal });
    const listed = members.map(({ id, learner }) => `${id.toString(16)}${learner ? ' (learner)' : ''}`).join(', ');
    const expected = this.#record.members.map(({ id }) => id).join(', ');
    if (listed !== expected) throw differs(`the member list is ${listed}, the restore record says ${expected}`);
  }

  /** Through the quorum, at the record's revision. @throws WardenError `verification-failed` */
  async count(): Promise<number> {
    const { revision, keyCount } = this.#record;
    const reply = await this.#keys.run('counting the keys', this.#signal, ({ client, options }) =>
      client.kv.range({ key: NUL, range_end: NUL, count_only: true, revision }, options),
    );
    const count = Number(reply.count);
    if (count !== keyCount) throw differs(`etcd counts ${count} keys at revision ${revision}, the restore record says ${keyCount}`);
    return count;
  }

  /**
   * One record of the backup against what etcd answers for its key: at the restored revision, or where another change followed, at its own.
   * @returns false when there is nothing to compare: that revision is compacted, or raised revisions left superseded records out
   * @throws WardenError `verification-failed`
   */
  async value(expected: KeyValue): Promise<boolean> {
    const { revision, compactRevision, raisedFrom } = this.#record;
    const at = expected.modRevision;
    let found = await this.#get(expected.key, revision);
    if (found === undefined || BigInt(found.mod_revision) > at) {
      if (raisedFrom !== undefined || at < BigInt(compactRevision)) return false;
      found = await this.#get(expected.key, String(at));
    }
    if (found === undefined) throw differs(`etcd does not have the change of revision ${at}`);
    const same =
      BigInt(found.mod_revision) === at &&
      BigInt(found.create_revision) === expected.createRevision &&
      BigInt(found.version) === expected.version &&
      BigInt.asIntN(64, BigInt(found.lease)) === BigInt.asIntN(64, expected.lease) &&
      found.value.equals(expected.value);
    if (!same) throw differs(`etcd has other content than the backup for the key that was changed at revision ${at}`);
    return true;
  }

  /** A key comes and goes: what was restored accepts writes. @throws WardenError `verification-failed`, or why the call failed */
  async write(): Promise<void> {
    const key = Buffer.from(`etcd-warden/drill/${randomUUID()}`);
    const before = await this.#member.status(this.#signal);
    await this.#keys.run('writing a key', this.#signal, ({ client, options }) => client.kv.put({ key, value: key }, options));
    const found = await this.#get(key, '0');
    if (found === undefined || !found.value.equals(key) || BigInt(found.mod_revision) <= before.revision)
      throw differs('etcd does not return a key that it has just accepted');
    await this.#keys.run('deleting a key', this.#signal, ({ client, options }) => client.kv.deleteRange({ key }, options));
    if ((await this.#get(key, '0')) !== undefined) throw differs('etcd still has a key that was deleted');
  }

  async #get(key: Buffer, revision: string): Promise<Found | undefined> {
    const { kvs } = await this.#keys.run('reading a key', this.#signal, ({ client, options }) =>
      client.kv.range({ key, revision }, options),
    );
    return kvs[0];
  }
}

/** The part of etcd3's answer that counts; its 64-bit numbers are decimal text. */
interface Found {
  readonly value: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly version: string;
  readonly lease: string;
}

function differs(sentence: string): WardenError {
  return new WardenError('verification-failed', `the restored etcd is not what the backup promises: ${sentence}`, {
    hint: 'restore from another backup, and keep this one for whoever finds out why',
  });
}
