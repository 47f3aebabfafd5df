/**
 * Whether this very cluster was made before. The same command makes the same ids, which is what lets three machines make one cluster; the same command a second time, after that
 * cluster ran, would make members that an overlooked one of the first time takes for its own, with another history under the same ids. Pure.
 */
import type { Catalog } from '../../catalog/types.ts';
import { WardenError } from '../../errors.ts';

export interface BeforeOptions {
  /** Hex. */
  readonly clusterId: string;
  readonly attempt: number;
  /** A member of it answers now: the others are joining it. */
  readonly running: boolean;
  /** The token was given: whoever did that knows which cluster he means. */
  readonly tokenGiven: boolean;
  readonly now: Date;
}

/** Machines are restored one after the other: as long as that takes, a record of the same cluster is that of the machine before. */
const ONE_RESTORE_MS = 3_600_000;

export function madeBefore(
  { backups, acceptances }: Pick<Catalog, 'backups' | 'acceptances'>,
  { clusterId, attempt, running, tokenGiven, now }: BeforeOptions,
): { readonly refusal?: WardenError; readonly notes: readonly string[] } {
  if (running || tokenGiven) return { notes: [] };
  const another = `--attempt ${attempt + 1} on every machine makes another cluster, which none of its members can be taken for`;
  const since = backups.findLast(({ manifest }) => manifest.clusterId === clusterId);
  if (since !== undefined) {
    return {
      notes: [],
      refusal: new WardenError(
        'refused',
        `cluster ${clusterId}, which this restore makes, has run already: ${since.id} is a backup of it`,
        {
          hint: another,
        },
      ),
    };
  }
  const [first] = acceptances.flatMap(({ restore }) => (restore?.clusterId === clusterId ? [restore.time] : [])).toSorted();
  if (first === undefined || now.getTime() - Date.parse(first) < ONE_RESTORE_MS) return { notes: [] };
  return { notes: [`this restore was made before, at ${first}: if any member of that cluster was ever started, ${another}`] };
}
