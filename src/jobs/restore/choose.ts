/** Which backup a restore starts from, and what whoever asked should know about the choice. Pure. */
import { findBackup, periodOf } from '../../catalog/find.ts';
import { isImported, type Backup, type Catalog } from '../../catalog/types.ts';
import { formatDuration } from '../../config/units.ts';
import { WardenError } from '../../errors.ts';

/** What was asked for: exactly one of `reference`, `latest`, `at`; or a revision alone, or with one of them. */
export interface SourceWish {
  /** An id, the beginning of one, `latest` or a time. */
  readonly reference?: string | undefined;
  readonly latest?: boolean | undefined;
  /** A time as in references. */
  readonly at?: string | undefined;
  readonly revision?: bigint | undefined;
}

export interface Chosen {
  readonly backup: Backup;
  /** Undefined = its newest: also when that was asked for by its number, so that both ways make one cluster. */
  readonly revision: bigint | undefined;
  /** Sentences for people. */
  readonly notes: readonly string[];
  /** Newest first: what may be tried when this one turns out bad. */
  readonly older: readonly Backup[];
  /** The time that was asked for, RFC 3339, and how far before it the backup was taken, ms. */
  readonly asked: { readonly time: string; readonly gapMs: number } | undefined;
}

const HOUR_MS = 3_600_000;

/** How many backups a sentence names. */
const SHOWN = 3;

/**
 * `--latest` and `--at` take backups that somebody has found sound and nobody suspects, and none that were imported; who names one gets that one.
 * @throws WardenError `nothing-found`, `ambiguous`, `usage`, `revision-compacted`, `revision-future`
 */
export function chooseBackup(catalog: Catalog, wish: SourceWish, now: Date): Chosen {
  requireOne(wish);
  const { reference, revision } = wish;
  const time = wish.at ?? (reference !== undefined && periodOf(reference) !== undefined ? reference : undefined);
  if (time !== undefined) return atTime(catalog, time, revision, now);
  if (wish.latest === true || reference === 'latest') {
    if (catalog.backups.length === 0) throw nothing(catalog);
    return chosen(catalog, newestOf(catalog, catalog.backups, 'exists'), revision, catalog.backups);
  }
  if (reference !== undefined) return named(catalog, findBackup(catalog, reference), revision);
  return holding(catalog, revision!);
}

function requireOne({ reference, latest, at, revision }: SourceWish): void {
  const ways = [reference !== undefined, latest === true, at !== undefined].filter(Boolean).length;
  if (ways > 1) throw new WardenError('usage', 'a backup is named in two ways', { hint: 'give one of ID, --latest and --at' });
  if (ways === 0 && revision === undefined)
    throw new WardenError('usage', 'it is not said what to restore', {
      hint: 'etcd-warden restore --latest, an id of `etcd-warden list`, --at TIME, --revision N, or a file such as ./snapshot.db',
    });
}

/** Whether it may be taken without being named. */
function isFit(backup: Backup): boolean {
  return whyUnfit(backup) === undefined;
}

function whyUnfit(backup: Backup): string | undefined {
  if (isImported(backup)) return 'it was imported';
  if (backup.suspect !== undefined) return `it is suspect: ${backup.suspect}`;
  if (backup.copies.some(({ verified }) => verified)) return undefined;
  const failed = backup.copies.find(({ check }) => check?.outcome === 'failed')?.check;
  if (failed !== undefined) return `its verification failed${failed.reason === undefined ? '' : `: ${failed.reason}`}`;
  return isThere(backup) ? 'it was never verified' : 'no store holds it whole';
}

/** Some store has all of it, sound or not. */
function isThere({ copies }: Backup): boolean {
  return copies.some(({ manifest, data }) => manifest === 'present' && data === 'present');
}

/** The newest that may be taken unnamed, out of some. @throws WardenError `nothing-found` */
function newestOf(catalog: Catalog, among: readonly Backup[], which: string): Backup {
  const found = among.findLast(isFit);
  if (found !== undefined) return found;
  const whole = among.findLast(isThere);
  const sentence = `no verified backup of ${catalog.cluster} ${which}`;
  throw new WardenError('nothing-found', sentence, {
    hint:
      whole === undefined
        ? hintOf(catalog)
        : `the newest whole one is ${whole.id} (${whyUnfit(whole)}): restore it by its id, or find out with \`etcd-warden verify ${whole.id}\``,
  });
}

function atTime(catalog: Catalog, time: string, revision: bigint | undefined, now: Date): Chosen {
  const period = periodOf(time);
  if (period === undefined)
    throw new WardenError('usage', `--at ${JSON.stringify(time)} is not a time`, {
      hint: 'such as 2026-11-22T10:00, which is UTC, or 2026-11-22T10:00+01:00',
    });
  const own = catalog.backups.filter((backup) => !isImported(backup));
  const [first] = own;
  if (first === undefined) throw nothing(catalog);
  const before = own.filter(({ timeMs }) => timeMs < period.untilMs);
  if (before.length === 0)
    throw new WardenError(
      'nothing-found',
      `no backup of ${catalog.cluster} is as old as ${time}: the first was begun at ${first.manifest.time}`,
      {
        hint: `it holds what had been written before, as far as it was not changed since: etcd-warden restore ${first.id}`,
      },
    );
  const backup = newestOf(catalog, before, `is not after ${time}`);
  // A day means its end, unless it is not over yet; a minute or second means its beginning.
  const meant = period.untilMs - period.fromMs > HOUR_MS ? period.untilMs - 1 : period.fromMs;
  const askedMs = Math.min(meant, now.getTime());
  const gapMs = Math.max(0, askedMs - backup.timeMs);
  const asked = new Date(askedMs).toISOString();
  const result = chosen(catalog, backup, revision, before);
  return {
    ...result,
    notes: [
      ...(period.fromMs > now.getTime() ? [`${time} lies in the future: the newest backup is taken`] : []),
      `${backup.id} was begun ${formatDuration(Math.round(gapMs / 1000) * 1000)} before ${asked}: what was written in between is not in it`,
      ...laterHistory(own, backup, period.untilMs),
      ...result.notes,
    ],
    asked: { time: asked, gapMs },
  };
}

/** A later backup may hold every revision since this one: then any moment between can be had. */
function laterHistory(own: readonly Backup[], { manifest }: Backup, untilMs: number): string[] {
  const next = own.find(
    (other) =>
      other.timeMs >= untilMs &&
      other.manifest.lineage === manifest.lineage &&
      isFit(other) &&
      firstHeld(other) <= BigInt(manifest.revision),
  );
  if (next === undefined || next.manifest.revision === manifest.revision) return [];
  return [
    `${next.id} holds every revision from ${manifest.revision} to ${next.manifest.revision}: \`etcd-warden restore ${next.id} --revision N\` takes what was written in between up to N`,
  ];
}

function named(catalog: Catalog, backup: Backup, revision: bigint | undefined): Chosen {
  const why = whyUnfit(backup);
  const result = chosen(catalog, backup, revision);
  return why === undefined ? result : { ...result, notes: [`${backup.id} is taken because it was named: ${why}`, ...result.notes] };
}

/** The newest that still holds a revision. @throws WardenError `revision-compacted`, `revision-future`, `nothing-found` */
function holding(catalog: Catalog, revision: bigint): Chosen {
  const fit = catalog.backups.filter(isFit);
  const backup = fit.findLast((each) => holds(each, revision));
  if (backup === undefined) {
    if (fit.length === 0) newestOf(catalog, catalog.backups, 'exists');
    const newest = fit.at(-1)!;
    const unfit = catalog.backups.findLast((each) => isThere(each) && holds(each, revision));
    throw new WardenError(
      revision > BigInt(newest.manifest.revision) ? 'revision-future' : 'revision-compacted',
      `no verified backup of ${catalog.cluster} holds revision ${revision}`,
      {
        hint:
          unfit === undefined
            ? `they hold ${rangesOf(fit)}`
            : `${unfit.id} holds it (${whyUnfit(unfit)}): etcd-warden restore ${unfit.id} --revision ${revision}`,
      },
    );
  }
  const other = fit.findLast((each) => each.manifest.lineage !== backup.manifest.lineage && holds(each, revision));
  const result = chosen(catalog, backup, revision);
  return other === undefined
    ? result
    : {
        ...result,
        notes: [
          `revision ${revision} is also in ${other.id}, of another generation of this cluster: name that one if it is meant`,
          ...result.notes,
        ],
      };
}

function firstHeld({ manifest }: Backup): bigint {
  const compact = BigInt(manifest.compactRevision);
  return compact > 1n ? compact : 1n;
}

function holds(backup: Backup, revision: bigint): boolean {
  return firstHeld(backup) <= revision && revision <= BigInt(backup.manifest.revision);
}

/** What is held all in all, oldest first, ranges that meet as one. */
function rangesOf(backups: readonly Backup[]): string {
  const ranges: { from: bigint; to: bigint }[] = [];
  const sorted = backups
    .map((each) => ({ from: firstHeld(each), to: BigInt(each.manifest.revision) }))
    .toSorted((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  for (const { from, to } of sorted) {
    const last = ranges.at(-1);
    if (last === undefined || from > last.to + 1n) ranges.push({ from, to });
    else if (to > last.to) last.to = to;
  }
  const text = ranges.slice(-2 * SHOWN).map(({ from, to }) => (from === to ? String(from) : `${from} to ${to}`));
  return `${ranges.length > text.length ? 'among others ' : ''}${text.join(', ')}`;
}

/** @param unnamed what it was chosen out of, when nobody named it */
function chosen(catalog: Catalog, backup: Backup, revision: bigint | undefined, unnamed: readonly Backup[] = []): Chosen {
  const { manifest, id } = backup;
  if (revision !== undefined && !holds(backup, revision)) {
    const hint = `${id} holds revisions ${firstHeld(backup)} to ${manifest.revision}; without an id the newest backup that holds it is taken: etcd-warden restore --revision ${revision}`;
    if (revision < firstHeld(backup)) throw new WardenError('revision-compacted', `revision ${revision} is compacted in ${id}`, { hint });
    throw new WardenError('revision-future', `revision ${revision} is later than ${id}`, { hint });
  }
  const own = catalog.backups.filter((each) => !isImported(each));
  const passed = unnamed.slice(unnamed.indexOf(backup) + 1).filter((each) => !isImported(each));
  const newest = own.at(-1);
  const elsewhere = newest !== undefined && !isImported(backup) && newest.manifest.lineage !== manifest.lineage;
  return {
    backup,
    revision: revision === BigInt(manifest.revision) ? undefined : revision,
    notes: [
      ...passed.slice(-SHOWN).map((each) => `${each.id} is newer and was passed over: ${whyUnfit(each)}`),
      ...(elsewhere ? [`${id} is of an earlier generation of this cluster than ${newest.id}, the newest backup`] : []),
      ...catalog.unreachable.map(({ store, error }) => `${store} could not be asked and may hold newer backups: ${error.message}`),
    ],
    older: own.filter((each) => each.timeMs < backup.timeMs && isFit(each)).toReversed(),
    asked: undefined,
  };
}

function nothing(catalog: Catalog): WardenError {
  return new WardenError('nothing-found', `there is no backup of ${catalog.cluster}`, { hint: hintOf(catalog) });
}

function hintOf({ unreachable }: Catalog): string {
  const missing = unreachable.map(({ store, error }) => `${store} (${error.message})`).join(', ');
  return missing === '' ? 'etcd-warden list shows what there is' : `these stores could not be asked: ${missing}`;
}

/** For a hint: the older ones by name. */
export function offerOlder(older: readonly Backup[]): string | undefined {
  if (older.length === 0) return undefined;
  return `older ones: ${older
    .slice(0, SHOWN)
    .map(({ id, manifest }) => `\`etcd-warden restore ${id}\` (${manifest.time}, revision ${manifest.revision})`)
    .join(', ')}`;
}
