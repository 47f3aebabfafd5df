/** Which backup somebody means: an id, the beginning of one, `latest`, or a time. Pure. */
import { WardenError } from '../errors.ts';
import { isImported, type Backup, type Catalog } from './types.ts';

const TIME = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(\.\d{1,3})?)?)?(Z|[+-]\d{2}:\d{2})?$/;

const DAY_MS = 86_400_000;

/** How many candidates an error names. */
const SHOWN = 5;

/**
 * The one backup that `reference` describes.
 * `latest`: the newest by time, never by revision (a restored cluster goes back in revision), that has a verified copy; failing that the newest of which a whole copy
 * exists; one that was imported only where there is no other. A time (`2026-11-22`, `2026-11-22T10:00`, seconds and zone allowed, UTC without one): the same, of those begun by the end of that day, minute
 * or second, so that `10:00` finds the backup that was scheduled for 10:00.
 * @throws WardenError `nothing-found`, `ambiguous`
 */
export function findBackup(catalog: Catalog, reference: string): Backup {
  if (reference === 'latest') {
    const own = catalog.backups.filter((backup) => !isImported(backup));
    return newestOf(own.some(({ state }) => state !== 'damaged') ? own : catalog.backups, catalog, 'left');
  }
  const period = periodOf(reference);
  if (period !== undefined)
    return newestOf(
      catalog.backups.filter(({ timeMs }) => timeMs < period.untilMs),
      catalog,
      `not after ${reference}`,
    );
  const matches = reference === '' ? [] : catalog.backups.filter(({ id }) => id.startsWith(reference));
  const exact = matches.find(({ id }) => id === reference) ?? (matches.length === 1 ? matches[0] : undefined);
  if (exact !== undefined) return exact;
  if (matches.length === 0) throw nothingFound(catalog, `no backup of ${catalog.cluster} begins with ${JSON.stringify(reference)}`);
  const more = matches.length > SHOWN ? ` and ${matches.length - SHOWN} more` : '';
  throw new WardenError('ambiguous', `${matches.length} backups of ${catalog.cluster} begin with ${JSON.stringify(reference)}`, {
    hint: `one of ${matches
      .slice(0, SHOWN)
      .map(({ id }) => id)
      .join(', ')}${more}`,
  });
}

function newestOf(backups: readonly Backup[], catalog: Catalog, description: string): Backup {
  const found =
    backups.findLast(({ copies }) => copies.some(({ verified }) => verified)) ?? backups.findLast(({ state }) => state !== 'damaged');
  if (found !== undefined) return found;
  const sentence =
    catalog.backups.length === 0 ? `there is no backup of ${catalog.cluster}` : `no whole backup of ${catalog.cluster} is ${description}`;
  throw nothingFound(catalog, sentence);
}

/** The day, minute, second or millisecond that a reference names, in ms since 1970, or undefined when it is no time. `untilMs` does not belong to it. */
export function periodOf(reference: string): { readonly fromMs: number; readonly untilMs: number } | undefined {
  const parts = TIME.exec(reference);
  if (parts === null) return undefined;
  const [, date, minute = '00:00', second = '00', fraction = '.000', zone = 'Z'] = parts;
  const fromMs = Date.parse(`${date}T${minute}:${second}${fraction.padEnd(4, '0')}${zone}`);
  if (Number.isNaN(fromMs)) return undefined;
  const lengthMs = parts[4] !== undefined ? 1 : parts[3] !== undefined ? 1000 : parts[2] === undefined ? DAY_MS : 60_000;
  return { fromMs, untilMs: fromMs + lengthMs };
}

function nothingFound({ unreachable }: Catalog, sentence: string): WardenError {
  const missing = unreachable.map(({ store, error }) => `${store} (${error.message})`).join(', ');
  return new WardenError('nothing-found', sentence, {
    hint: missing === '' ? 'etcd-warden list shows what there is' : `these stores could not be asked: ${missing}`,
  });
}
