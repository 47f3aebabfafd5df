import { randomBytes } from 'node:crypto';
import { holdBackup, type FactContext, type FactOutcome } from '../../catalog/facts.ts';
import { findBackup } from '../../catalog/find.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { toolName } from '../../version.ts';
import { printable } from '../output/table.ts';
import { readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  return withReadStores(invocation, async (stores) => {
    const cluster = await readCluster(invocation, stores);
    const backup = findBackup(await loadCatalog(stores, cluster, invocation.context.signal), invocation.arguments[0] ?? '');
    const reason = (invocation.options['reason'] as string | undefined) ?? '';
    const outcomes = await holdBackup(stores, backup, reason, factContext(invocation));
    return factAnswer({ id: backup.id, held: true, reason }, `${backup.id} is held until it is released`, outcomes);
  });
}

export function factContext({ context }: Invocation): FactContext {
  return { tool: toolName, now: context.now(), random: randomBytes, signal: context.signal };
}

/** A fact that some stores did not take is true all the same, but each store alone should tell the whole story: exit code 3. */
export function factAnswer(json: object, text: string, outcomes: readonly FactOutcome[]): Answer {
  const failed = outcomes.filter((outcome) => outcome.error !== undefined);
  return {
    exitCode: failed.length === 0 ? 0 : 3,
    json: { ...json, stores: outcomes.map((outcome) => ({ store: outcome.store, error: outcome.error?.message ?? null })) },
    text: [text, ...failed.map((outcome) => `not recorded on ${outcome.store}: ${printable(outcome.error?.message ?? '')}`)].join('\n'),
  };
}
