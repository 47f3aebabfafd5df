/** A prepared restore carried out, and told to the stores that its backup came from. */
import { randomBytes } from 'node:crypto';
import { announceRestore } from '../../catalog/facts.ts';
import type { Backup } from '../../catalog/types.ts';
import { asError, WardenError, type ErrorCode } from '../../errors.ts';
import { buildMembers } from '../../restore/build.ts';
import type { BuildResult } from '../../restore/types.ts';
import type { Store } from '../../store/types.ts';
import { toolName } from '../../version.ts';
import type { JobContext } from '../types.ts';
import { offerOlder } from './choose.ts';
import type { PreparedRestore } from './prepare.ts';

export interface PerformedRestore {
  readonly built: BuildResult;
  /** Names of the stores that hold the record now. */
  readonly announced: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * @param stores that the backup came from; they are told what was made of it
 * @throws WardenError the first refusal, before anything is touched; whatever building throws, when nothing was left behind
 */
export async function performRestore(prepared: PreparedRestore, stores: readonly Store[], context: JobContext): Promise<PerformedRestore> {
  const [refusal] = prepared.refusals;
  if (refusal !== undefined) throw refusal;
  const built = await buildMembers(prepared.request, context).catch((error: unknown) => {
    throw withOlder(error, prepared.chosen?.older ?? []);
  });
  return { built, ...(await announce(built, stores, context)) };
}

/** Errors that say that the bytes of the backup are bad, wherever they were read. */
const BAD_BYTES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'verification-failed',
  'object-missing',
  'not-seekable',
  'not-bolt',
  'not-etcd',
  'bolt-damaged',
  'history-broken',
  'snapshot-hash-mismatch',
]);

function withOlder(error: unknown, older: readonly Backup[]): unknown {
  const offer = offerOlder(older);
  if (!(error instanceof WardenError) || !BAD_BYTES.has(error.code) || offer === undefined) return error;
  return new WardenError(error.code, error.message, { hint: offer, cause: error });
}

/** The directories stand: a store that takes nothing more is no reason to call that a failure. */
async function announce(
  { record }: BuildResult,
  stores: readonly Store[],
  { signal, now, logger }: JobContext,
): Promise<Omit<PerformedRestore, 'built'>> {
  if (record.source.backup === undefined) return { announced: [], warnings: [] };
  const told = await announceRestore(stores, record, { signal, now: now(), random: randomBytes, tool: toolName }).catch(
    (thrown: unknown) => {
      const error = asError(thrown);
      return stores.map(({ name }) => ({ store: name, error }));
    },
  );
  const refused = told.filter(({ error }) => error !== undefined);
  for (const { store, error } of refused) logger.warn({ store, err: error }, 'the restore could not be announced');
  return {
    announced: told.filter(({ error }) => error === undefined).map(({ store }) => store),
    warnings: refused.map(
      ({ store, error }) =>
        `${store} took no record of this restore (${error!.message}): backups of the new cluster have to be accepted there with \`etcd-warden accept-cluster\``,
    ),
  };
}
