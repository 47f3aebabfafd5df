/**
 * What was done to a cluster before, by whichever process: when it was compacted and disarmed, when and how fast each member was defragmented, and the
 * last surprise. It lies in etcd, so that another daemon knows it, and in the state folder, because NOSPACE refuses every put exactly when it counts.
 * None of it can be observed, and none of it is needed to be safe: it spaces actions out and foretells how long they take. So whatever goes wrong here
 * is told and does not stop anything.
 */
import { asError, WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import { KeysClient, keyText } from '../../etcd/keys.ts';
import type { ClusterAccess } from '../../etcd/types.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Past } from '../planner/types.ts';
import { decodeRecord, encodeRecord } from './codec.ts';
import { merged, NO_ENTRIES, pastOf, without, withChange, type Change, type Entries } from './entries.ts';
import { recordFile } from './file.ts';

export type { Change } from './entries.ts';

export interface RecordOptions {
  /** Of the cluster. */
  readonly name: string;
  readonly stateDir: string;
  readonly keyPrefix: string;
  readonly access: ClusterAccess;
  readonly logger: Logger;
  readonly now: () => Date;
  /** Tests bring their own. */
  readonly keys?: Pick<KeysClient, 'read' | 'put'> & Partial<Pick<KeysClient, 'clusterId' | 'close'>>;
}

export interface MaintenanceRecordStore {
  /** Both places, merged. @throws WardenError `interrupted` alone */
  read(signal: AbortSignal): Promise<Past>;
  /** As it was read last, with what was noted since. */
  current(): Past;
  /** To both places, as far as they take it. @throws WardenError `interrupted` alone, and then the file has it */
  note(change: Change, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** An entry may lie so far ahead of our clock. */
const CLOCK_DIFFERENCE_MS = 10 * 60_000;
/** Without quorum a read hangs until its deadline; nothing here is worth that wait. */
const PATIENCE_MS = 5_000;
/** Another daemon would have to write in each of these moments. */
const MOST_TRIES = 5;

export function openRecord(options: RecordOptions): MaintenanceRecordStore {
  const { logger, now } = options;
  const keys: NonNullable<RecordOptions['keys']> = options.keys ?? new KeysClient(options.access);
  const key = Buffer.from(`${options.keyPrefix.replace(/\/+$/, '')}/maintenance/${options.name}`);
  const file = recordFile(options.stateDir, options.name);
  let entries: Entries = NO_ENTRIES;
  /** Told once: the record is read again and again. */
  const told = new Set<string>();

  function tell(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (told.has(message)) return;
    told.add(message);
    logger.warn(fields, message);
  }

  function parse(
    text: string,
    where: string,
  ): { readonly entries: Entries; readonly clusterId: string | undefined; readonly newer: boolean } {
    const decoded = decodeRecord(text);
    if ('entries' in decoded) return { ...decoded, entries: without(decoded.entries, now().getTime() + CLOCK_DIFFERENCE_MS), newer: false };
    tell({ where, reason: decoded.reason }, 'a record of maintenance is not one of ours and is left out of account');
    return { entries: NO_ENTRIES, clusterId: undefined, newer: decoded.newer };
  }

  /** Undefined until etcd has answered a read. */
  function clusterId(): string | undefined {
    const id = keys.clusterId?.();
    return id === undefined ? undefined : hex(id);
  }

  async function fromFile(): Promise<Entries> {
    try {
      const text = await file.read();
      if (text === undefined) return NO_ENTRIES;
      const found = parse(text, file.path);
      const [ours, theirs] = [clusterId(), found.clusterId];
      // The hour between two disarmings, say, is each cluster's own, whatever they are called.
      if (ours === undefined || theirs === undefined || ours === theirs) return found.entries;
      logger.debug(
        { path: file.path, clusterId: ours, recorded: theirs },
        'the record of maintenance in the state folder is that of another cluster',
      );
      return NO_ENTRIES;
    } catch (error) {
      tell({ err: asError(error), path: file.path }, 'the record of maintenance in the state folder cannot be read');
      return NO_ENTRIES;
    }
  }

  async function toFile(): Promise<void> {
    try {
      await file.write(encodeRecord(entries, clusterId()));
    } catch (error) {
      tell({ err: asError(error), path: file.path }, 'the record of maintenance in the state folder cannot be written');
    }
  }

  /** Read, merge, and put while nobody else has: two daemons lose nothing of each other. */
  async function toEtcd(signal: AbortSignal): Promise<void> {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const present = (await keys.read([key], signal)).get(keyText(key));
      if (present !== undefined) {
        const text = present.value.toString('utf8');
        const there = parse(text, key.toString());
        if (there.newer) return;
        entries = merged(entries, there.entries);
        if (encodeRecord(entries) === text) return;
      }
      const put = { key, value: Buffer.from(encodeRecord(entries)), modRevision: present?.modRevision ?? 0n, lease: 0n };
      if ((await keys.put([put], signal)).outcome === 'put') return;
      // Changed meanwhile, or the answer was lost: both are settled by reading again.
    }
    throw new WardenError('changed-meanwhile', `${key.toString()} was changed by somebody else ${MOST_TRIES} times in a row`);
  }

  async function inEtcd(what: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await work(AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
    } catch (error) {
      signal.throwIfAborted();
      const refused = error instanceof WardenError && error.code === 'no-space';
      // Expected until the cure is done, and written then.
      if (refused) logger.debug({ key: key.toString() }, 'the record of maintenance waits until etcd accepts writes');
      else tell({ err: asError(error), key: key.toString() }, `the record of maintenance in etcd cannot be ${what}`);
    }
  }

  return {
    async read(signal) {
      signal.throwIfAborted();
      let found = NO_ENTRIES;
      await inEtcd('read', signal, async (inner) => {
        const present = (await keys.read([key], inner)).get(keyText(key));
        if (present !== undefined) found = parse(present.value.toString('utf8'), key.toString()).entries;
      });
      entries = merged(entries, merged(found, await fromFile()));
      return pastOf(entries);
    },
    current: () => pastOf(entries),
    async note(change, signal) {
      entries = withChange(entries, change);
      await toFile();
      await inEtcd('written', signal, toEtcd);
    },
    close: () => keys.close?.(),
  };
}
