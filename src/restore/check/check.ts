/**
 * `restore --check`: a cluster counts as restored when every member of the record has answered, is who was recorded, takes part in the quorum, and holds exactly the
 * data that was built. Late members are waited for; what waiting cannot mend ends it at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatDurationShort } from '../../config/units.ts';
import { asError, WardenError } from '../../errors.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { ClusterAccess, MemberHash } from '../../etcd/types.ts';
import { knownWrongHash } from '../../etcd/versions.ts';
import type { RestoreRecord } from '../../format/types.ts';
import type { RestoreContext } from '../types.ts';
import { agreement, compareHash, inAskingOrder, type AskHash, type Hashed } from './hash.ts';
import { lookAtRestored, type Look, type Seen } from './look.ts';
import { compareMembers, type Comparison } from './members.ts';
import type { RestoredCheck, RestoredMember, RestoredOutcome } from './types.ts';

export type { RestoredCheck, RestoredMember } from './types.ts';

export interface CheckOptions {
  readonly record: RestoreRecord;
  /** With endpoints of all members, or of some that advertise the others. */
  readonly access: ClusterAccess;
  readonly signal: AbortSignal;
  readonly progress: RestoreContext['progress'];
  /** How long members may be late, ms; 60 000 when not given. */
  readonly timeoutMs?: number;
  /** For one member's hash, ms; when not given as long as its size takes from a slow disk, because clients wait for it. */
  readonly hashTimeoutMs?: number;
}

const PATIENCE_MS = 60_000;
const POLL_MS = 500;

/** Bytes per second that a member hashes when its data is in memory (measured on 3.6.16: 1 GB in 0.47 s). */
const HASH_RATE = 2e9;
/** From a plain disk it is thirty times slower. Twice that, since giving up does not end the scan: the member would be frozen all the same, and nothing known. */
const COLD_FACTOR = 60;
const SHORTEST_HASH_MS = 10_000;
const STILL_EVERY_MS = 10_000;

/**
 * Asks every member for exactly what the record holds.
 * @throws WardenError when it is no use to go on: `login-failed`, `permission-denied` (HashKV needs the root role), `config-invalid`, `interrupted`
 */
export async function checkRestored(options: CheckOptions): Promise<RestoredCheck> {
  const { record, access, signal, progress } = options;
  const until = performance.now() + (options.timeoutMs ?? PATIENCE_MS);
  for (;;) {
    const look = await lookAtRestored(access, BigInt(`0x${record.clusterId}`), signal);
    const comparison = compareMembers(record, look);
    if (comparison.different.length > 0) return finished('differs', comparison.different, record, { look, comparison, hashed: [] });
    if (comparison.late.length === 0) return await checkHashes(options, look, comparison);
    if (performance.now() >= until) return finished('waiting', comparison.late, record, { look, comparison, hashed: [] });
    progress({
      step: 'members',
      message: `${comparison.present.size} of ${record.members.length} members answer; waiting: ${comparison.late[0]}`,
    });
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function checkHashes(options: CheckOptions, look: Look, comparison: Comparison): Promise<RestoredCheck> {
  const { record, signal } = options;
  const members = inAskingOrder(comparison.present);
  const ask = asking(options);
  const hashed: Hashed[] = [];
  const past: string[] = [];
  const facts = { look, comparison, hashed };
  try {
    for (const [id, seen] of members) {
      const result = await compareHash(record, id, seen, ask);
      if (result !== 'compacted') hashed.push(result);
      if (result === 'compacted') past.push(compactedPast(record, id, seen));
      else if (result.verdict === 'past') past.push(result.reason ?? '');
      // What one has compacted, all have, or are about to.
      if (past.length > 0) break;
    }
    const differing = hashed.filter(({ verdict }) => verdict === 'different');
    if (differing.length > 0) return judgeDifferences(record, differing, facts);
    if (past.length === 0) return finished('restored', [], record, facts);
    const { outcome, reason, answers } = await agreement(members, ask, signal);
    const all = answers.map(({ id, answer }): Hashed => ({ id, answer, verdict: 'past', reason: undefined }));
    const why = `clients have gone on: ${past[0]}; what was restored can no longer be compared, only whether the members agree`;
    return finished(outcome, [why, reason], record, { ...facts, hashed: all });
  } catch (error) {
    const code = error instanceof WardenError ? error.code : undefined;
    if (signal.aborted || code === 'permission-denied') throw error;
    // Everybody answered; what they answered fits nowhere.
    const outcome = code === 'revision-compacted' || code === 'revision-future' ? 'inconclusive' : 'waiting';
    return finished(outcome, [...past, asError(error).message], record, facts);
  }
}

/** Some releases hash wrongly: then a difference is no proof of one in the data, and no proof of none either. */
function judgeDifferences(record: RestoreRecord, differing: readonly Hashed[], facts: Facts): RestoredCheck {
  const reasons = differing.map(({ reason }) => reason ?? '');
  const excuse = differing
    .map(({ id }) => knownWrongHash(facts.comparison.present.get(id)?.status.version ?? ''))
    .find((each) => each !== undefined);
  return excuse === undefined
    ? finished('differs', reasons, record, facts)
    : finished('inconclusive', [...reasons, `but ${excuse}`], record, facts);
}

function compactedPast({ revision, compactRevision, members }: RestoreRecord, id: string, { status }: Seen): string {
  const name = members.find((each) => each.id === id)?.name ?? id;
  return revision === compactRevision
    ? `${name} is at revision ${status.revision}, and etcd ${status.version} does not hash ${revision} any more, at which it is compacted`
    : `${name} is compacted past ${revision}, which was restored`;
}

function asking({ access, signal, progress, record, hashTimeoutMs }: CheckOptions): AskHash {
  return async ({ status }, revision): Promise<MemberHash> => {
    const predictedMs = Math.max(1, Math.round((status.dbSizeInUse / HASH_RATE) * 1000));
    const name = record.members.find(({ id }) => BigInt(`0x${id}`) === status.memberId)?.name ?? status.endpoint;
    progress({
      step: 'hash',
      message: `${name} hashes its records and applies no writes for about ${formatDurationShort(predictedMs)}, longer if they have to come from disk`,
      subject: name,
    });
    const client = new MemberClient(access, status.endpoint);
    const still = setInterval(() => progress({ step: 'hash', message: `${name} still hashes its records`, subject: name }), STILL_EVERY_MS);
    try {
      const timeoutMs = hashTimeoutMs ?? Math.max(SHORTEST_HASH_MS, predictedMs * COLD_FACTOR);
      return await client.hashKv(revision, { timeoutMs, signal });
    } finally {
      clearInterval(still);
      client.close();
    }
  };
}

interface Facts {
  readonly look: Look;
  readonly comparison: Comparison;
  readonly hashed: readonly Hashed[];
}

function finished(
  outcome: RestoredOutcome,
  reasons: readonly string[],
  record: RestoreRecord,
  { look, comparison, hashed }: Facts,
): RestoredCheck {
  const members = record.members.map(({ id, name }): RestoredMember => {
    const status = comparison.present.get(id)?.status;
    const found = hashed.find((each) => each.id === id);
    return {
      id,
      name,
      endpoint: status?.endpoint,
      version: status?.version,
      revision: found === undefined ? status?.revision.toString() : String(found.answer.currentRevision),
      compactRevision: found?.answer.compactRevision.toString(),
      hash: found?.answer.hash,
      asRecorded: found === undefined || found.verdict === 'past' ? undefined : found.verdict === 'recorded',
      tookMs: found === undefined ? undefined : Math.round(found.answer.tookMs),
    };
  });
  return { outcome, members, reasons, notes: look.notes };
}
