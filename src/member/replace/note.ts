/**
 * The note of a replacement under way. It lies in etcd, so that any machine finds it, and in the state folder, because CORRUPT and NOSPACE refuse every put
 * exactly when a member has to be replaced. Without it nothing goes wrong: the peer URLs have to be given by hand then.
 */
import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asError } from '../../errors.ts';
import type { Upkeep } from '../../etcd/upkeep.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { hex } from '../../etcd/ids.ts';
import { replaceSmallFile } from '../../store/local/small-file.ts';
import type { ReplaceNote } from './types.ts';

export interface NoteStore {
  /** The newer of the two. @throws the signal's reason alone */
  read(signal: AbortSignal): Promise<ReplaceNote | undefined>;
  /** @returns where it could be written; empty = nowhere. @throws the signal's reason alone */
  write(note: ReplaceNote, signal: AbortSignal): Promise<readonly ('etcd' | 'state')[]>;
  /** In both places. @throws the signal's reason alone */
  clear(signal: AbortSignal): Promise<void>;
}

/** One request, and the cluster is whole enough to answer it at once. */
const PATIENCE_MS = 5_000;
const LONGEST = 16 * 1024;

export interface NoteOptions {
  readonly upkeep: Pick<Upkeep, 'readKey' | 'writeKey'>;
  readonly keyPrefix: string;
  readonly stateDir: string;
  /** Name of the cluster, and of the member. */
  readonly cluster: string;
  readonly member: string;
  readonly logger: Logger;
}

export function openNote({ upkeep, keyPrefix, stateDir, cluster, member, logger }: NoteOptions): NoteStore {
  // One for the cluster: only one member is replaced at a time, and by name or id alike.
  const key = `${keyPrefix.replace(/\/+$/, '')}/replace/${cluster}`;
  // Names of members may hold anything.
  const path = join(stateDir, 'replace', `${cluster}-${createHash('sha256').update(member).digest('hex').slice(0, 12)}.json`);

  async function quietly<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      logger.debug({ err: asError(error) }, what);
      return undefined;
    }
  }
  const soon = (signal: AbortSignal): AbortSignal => AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);

  return {
    async read(signal) {
      const [there, here] = await Promise.all([
        quietly('the note in etcd cannot be read', signal, () => upkeep.readKey(key, soon(signal))),
        quietly('there is no note in the state folder', signal, () => readFile(path, 'utf8')),
      ]);
      const notes = [there, here].flatMap((text) => (text === undefined ? [] : (decodeNote(text) ?? [])));
      return notes
        .filter(({ name, oldId }) => name === member || hex(oldId) === member)
        .toSorted((a, b) => b.since.localeCompare(a.since))[0];
    },
    async write(note, signal) {
      const text = encodeNote(note);
      const file = await quietly('the note cannot be written to the state folder', signal, async () => {
        await replaceSmallFile(path, text, { synced: true });
        return 'state' as const;
      });
      const inEtcd = await quietly('the note cannot be written to etcd', signal, async () => {
        await upkeep.writeKey(key, text, soon(signal));
        return 'etcd' as const;
      });
      return [inEtcd, file].filter((one) => one !== undefined);
    },
    async clear(signal) {
      await quietly('the note in the state folder cannot be removed', signal, () => rm(path, { force: true }));
      // An empty one, so that no right to delete is needed; only where there is one.
      await quietly('the note in etcd cannot be cleared', signal, async () => {
        const there = await upkeep.readKey(key, soon(signal));
        if (there !== undefined && decodeNote(there) !== undefined) await upkeep.writeKey(key, '{}', soon(signal));
      });
    },
  };
}

export function encodeNote(note: ReplaceNote): string {
  return JSON.stringify({ ...note, clusterId: hex(note.clusterId), oldId: hex(note.oldId) });
}

/** @returns undefined for what is not one of ours */
export function decodeNote(text: string): ReplaceNote | undefined {
  if (text.length > LONGEST) return undefined;
  try {
    const found = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const { name, clusterId, oldId, peerUrls, clientUrls, learner, since } = found;
    if (typeof name !== 'string' || typeof since !== 'string' || Number.isNaN(Date.parse(since)) || typeof learner !== 'boolean')
      return undefined;
    if (!isTexts(peerUrls) || !isTexts(clientUrls) || !isId(clusterId) || !isId(oldId)) return undefined;
    return { name, clusterId: BigInt(`0x${clusterId}`), oldId: BigInt(`0x${oldId}`), peerUrls, clientUrls, learner, since };
  } catch {
    return undefined;
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{1,16}$/.test(value);
}
