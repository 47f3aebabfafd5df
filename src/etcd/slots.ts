/** The record of the last slot of a schedule that some daemon served, so that no other serves it again. */
import type { CoordinationClient } from './coordination-client.ts';

export interface SlotRecord {
  /** RFC 3339. */
  readonly slot: string;
  /** Backup that came of it. */
  readonly id: string;
  readonly by: string;
  readonly at: string;
}

/** A record further in the future than this comes from a wrong clock, and must not stop the backups until then. */
const CLOCK_TOLERANCE_MS = 10 * 60_000;

export async function readSlot(client: CoordinationClient, key: string, signal: AbortSignal | undefined): Promise<SlotRecord | undefined> {
  const text = await client.run(`reading ${key}`, signal, (attempt) => attempt.client.get(key).options(attempt.options).string());
  return text === null ? undefined : parseSlot(text);
}

/** This slot or a later one was served. Of slots between the two nobody needs a backup any more. */
export function served(record: SlotRecord | undefined, slot: string, now: number): boolean {
  if (record === undefined) return false;
  const recorded = Date.parse(record.slot);
  const asked = Date.parse(slot);
  if (recorded === asked) return true;
  return recorded > asked && recorded <= now + CLOCK_TOLERANCE_MS;
}

/** Compare and swap, so that two who finish at once cannot take the record back to the older slot. */
export async function recordSlot(
  client: CoordinationClient,
  key: string,
  record: SlotRecord,
  signal: AbortSignal | undefined,
): Promise<void> {
  await client.run(`recording ${key}`, signal, async ({ client: etcd, options }) => {
    for (;;) {
      const reply = await etcd.get(key).options(options).exec();
      const found = reply.kvs[0];
      const present = found === undefined ? undefined : parseSlot(found.value.toString('utf8'));
      if (served(present, record.slot, Date.now())) return;
      const swapped = await etcd
        .if(key, 'Mod', '==', found?.mod_revision ?? 0)
        .then(etcd.put(key).value(JSON.stringify(record)))
        .options(options)
        .commit();
      // Else somebody was quicker: look again. The deadline of the options bounds it.
      if (swapped.succeeded) return;
    }
  });
}

/** Whatever cannot be read counts as absent: a backup too many is better than none. */
function parseSlot(text: string): SlotRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { slot, id, by, at } = value as Readonly<Record<string, unknown>>;
    if (typeof slot !== 'string' || Number.isNaN(Date.parse(slot))) return undefined;
    return { slot, id: String(id), by: String(by), at: String(at) };
  } catch {
    return undefined;
  }
}
