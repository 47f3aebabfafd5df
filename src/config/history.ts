/** How much history to keep: so many revisions, or everything since so many ms ago. */
import { formatDuration, parseDuration } from './units.ts';

export type History = { readonly revisions: number } | { readonly ms: number };

/** `10000` or `10m`; undefined for anything else, nothing at all among it: a compaction to the head is never meant. */
export function parseHistory(value: unknown): History | undefined {
  if (isHistory(value)) return value;
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  const text = String(value);
  if (/^[1-9]\d{0,14}$/.test(text)) return { revisions: Number(text) };
  const ms = parseDuration(text);
  return ms === undefined || ms === 0 ? undefined : { ms };
}

export function printHistory(history: History): string {
  return 'ms' in history ? formatDuration(history.ms) : String(history.revisions);
}

function isHistory(value: unknown): value is History {
  if (typeof value !== 'object' || value === null) return false;
  return ('ms' in value && typeof value.ms === 'number') || ('revisions' in value && typeof value.revisions === 'number');
}
