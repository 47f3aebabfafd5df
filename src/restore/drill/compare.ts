/**
 * What the scratch etcd answers, against the restore record and the backup. Whatever differs is `verification-failed`; whoever could not be asked is no difference.
 * Messages name revisions, never keys or values: they go into logs and check objects.
 */
import { randomUUID } from 'node:crypto';
import { WardenError } from '../../errors.ts';
import type { RestoreRecord } from '../../format/restore-record.ts';
import { CoordinationClient } from '../../etcd/coordination-client.ts';
import type { ClusterAccess } from '../../etcd/types.ts';
import type { KeyValue } from '../../mvcc/key-value.ts';
import { checkRestored } from '../check/check.ts';
import type { RestoreContext } from '../types.ts';

/** Nobody waits for this etcd, and at the lowest priority it may be slow; the deadline of the drill is what ends it. */
const READY_MS = 10 * 60_000;
const HASH_MS = 60 * 60_000;
/** A value has at most 1.5 MiB unless etcd was told otherwise. */
const MAX_REPLY = 256 * 2 ** 20;
/** etcd's way to say "the least key" and "no end". */
const NUL = Buffer.alloc(1);

export class Comparison {
  readonly #access: ClusterAccess;
  readonly #record: RestoreRecord;
  readonly #keys: CoordinationClient;
  readonly #signal: AbortSignal;
  readonly #progress: RestoreContext['progress'];

  constructor(access: ClusterAccess, record: RestoreRecord, { signal, progress }: Pick<RestoreContext, 'signal' | 'progress'>) {
    this.#access = access;
    this.#record = record;
    this.#signal = signal;
    this.#progress = progress;
    this.#keys = new CoordinationClient(access, { maxReplyBytes: MAX_REPLY });
  }

  close(): void {
    this.#keys.close();
  }

  /**
   * What `restore --check` asks before clients are let in: ids, members, alarms, revision, compact revision and HashKV.
   * @returns the release that answered
   * @throws WardenError `verification-failed`; `unproved` where the hash of this release proves nothing, `timeout`
   */
  async record(): Promise<string> {
    const options = { record: this.#record, access: this.#access, signal: this.#signal, progress: this.#progress };
    const { outcome, reasons, members } = await checkRestored({ ...options, timeoutMs: READY_MS, hashTimeoutMs: HASH_MS });
    const told = reasons.join('; ');
    if (outcome === 'differs') throw differs(told);
    if (outcome === 'waiting') throw new WardenError('timeout', `the scratch etcd did not answer everything: ${told}`);
    if (outcome !== 'restored')
      throw new WardenError('unproved', `its data could not be compared: ${told}`, {
        hint: 'drill with another release of etcd (drill.etcd)',
      });
    return members[0]?.version ?? '';
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
    await this.#keys.run('writing a key', this.#signal, ({ client, options }) => client.kv.put({ key, value: key }, options));
    const found = await this.#get(key, '0');
    if (found === undefined || !found.value.equals(key) || BigInt(found.mod_revision) <= BigInt(this.#record.revision))
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
