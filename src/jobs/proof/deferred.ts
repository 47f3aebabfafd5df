/**
 * Proofs that were not to be had when the backups were taken: the stall was too long outside the window, no follower answered, a member lagged. As long
 * as the cluster has not compacted past a backup's revision a member can still be asked; the answer becomes a `verify` check beside the backup.
 */
import { randomBytes } from 'node:crypto';
import { createScratch } from '../../archive/scratch.ts';
import { writeCheck } from '../../catalog/facts.ts';
import { currentGeneration } from '../../catalog/generations.ts';
import type { Backup, Catalog } from '../../catalog/types.ts';
import type { ClusterConfig } from '../../config/types.ts';
import { asError, errorDetails, WardenError } from '../../errors.ts';
import { accessOf } from '../../etcd/access.ts';
import { observeCluster } from '../../etcd/cluster.ts';
import { openCoordination } from '../../etcd/coordination.ts';
import { hex } from '../../etcd/ids.ts';
import type { ClusterView } from '../../etcd/types.ts';
import type { Store } from '../../store/types.ts';
import { toolName } from '../../version.ts';
import { exclude, sameCluster } from '../backup/exclusion.ts';
import { loadCatalog } from '../catalog.ts';
import { identityFor } from '../identity.ts';
import { examineCopy } from '../reread.ts';
import { scratchFolder } from '../scratch-folder.ts';
import type { JobContext, ProveResult } from '../types.ts';
import { askByPlan, type Asked } from './ask.ts';
import { provable } from './history.ts';
import { examinedHash } from './local.ts';
import { planNow } from './plan-now.ts';
import type { ProofPlan } from './policy.ts';
import { votersOf } from './statuses.ts';
import { judge, type Verdict } from './verdict.ts';

/** Asks for what is missing. Holds the cluster's lock: no snapshot and no defragmentation meanwhile. @throws WardenError `locked`, and when no member answers */
export async function proveCluster(stores: readonly Store[], cluster: ClusterConfig, context: JobContext): Promise<ProveResult> {
  const access = accessOf(cluster);
  const { keyPrefix, name } = cluster;
  const coordination = cluster.coordinate ? openCoordination(access, { keyPrefix, logger: context.logger }) : undefined;
  try {
    const exclusion = await exclude(coordination, {
      purpose: `proof of ${name}`,
      keyPrefix,
      signal: context.signal,
      logger: context.logger,
    });
    try {
      const signal = AbortSignal.any([context.signal, exclusion.signal]);
      const view = await observeCluster(access, { signal, logger: context.logger });
      sameCluster(exclusion, view.clusterId);
      const catalog = await loadCatalog(stores, name, signal);
      const run: Run = {
        stores,
        cluster,
        catalog,
        view,
        lineage: currentGeneration(catalog.generations)?.lineage,
        identities: await identityFor(cluster),
        context: { ...context, signal },
        advance: coordination === undefined ? undefined : (inner) => coordination.advance(inner),
      };
      const lines: ProveResult['lines'][number][] = [];
      for (const backup of provable(catalog, run.lineage)) lines.push(await proveBackup(backup, run));
      return { cluster: name, lines };
    } finally {
      await exclusion.release().catch((error: unknown) => context.logger.warn({ err: asError(error) }, 'the lock was not released'));
    }
  } finally {
    await coordination?.close();
  }
}

interface Run {
  readonly stores: readonly Store[];
  readonly cluster: ClusterConfig;
  readonly catalog: Catalog;
  readonly view: ClusterView;
  readonly lineage: string | undefined;
  readonly identities: readonly string[] | undefined;
  readonly context: JobContext;
  readonly advance: ((signal: AbortSignal) => Promise<void>) | undefined;
}

type Line = ProveResult['lines'][number];

async function proveBackup(backup: Backup, run: Run): Promise<Line> {
  const { id, manifest } = backup;
  const { view, identities, context } = run;
  const waits = (code: string, reason: string): Line => ({ id, outcome: 'waiting', code, reason });
  if (manifest.clusterId !== hex(view.clusterId)) return waits('refused', 'it is of another cluster than the one that answers');
  if (manifest.stored.encryption === 'age' && identities === undefined)
    return waits('key-missing', 'it is encrypted, and no identity is configured to read it again');
  const store = run.stores.find(({ name }) =>
    backup.copies.some((copy) => copy.store === name && copy.manifest === 'present' && copy.data === 'present'),
  );
  if (store === undefined) return waits('object-missing', 'no store that answers holds it');
  const { plan, asked } = await ask(BigInt(manifest.revision), run);
  if (plan.kind === 'refused') return waits(plan.code, plan.reason);
  const failure = asked.failures[0];
  if (asked.answers.length === 0) return waits(failure?.code ?? 'unreachable', failure?.message ?? 'no member answers');
  try {
    return await conclude(backup, store, await compare(backup, store, { plan, asked }, run), run);
  } catch (error) {
    context.signal.throwIfAborted();
    const { code, message } = errorDetails(error);
    context.logger.error({ id, store: store.name, err: asError(error) }, 'the backup could not be compared with the cluster');
    return waits(code, message);
  }
}

async function ask(revision: bigint, run: Run): Promise<{ readonly plan: ProofPlan; readonly asked: Asked }> {
  const { cluster, context } = run;
  const access = accessOf(cluster);
  const plan = await planNow({ ...run, access });
  if (plan.kind === 'refused') return { plan, asked: { answers: [], failures: [], ended: false } };
  return { plan, asked: await askByPlan(plan, revision, { access, timeoutMs: cluster.proof.timeoutMs, context }) };
}

function compare(
  backup: Backup,
  store: Store,
  { plan, asked }: { readonly plan: Extract<ProofPlan, { kind: 'ask' }>; readonly asked: Asked },
  { cluster, view, identities, context, advance }: Run,
): Promise<Verdict> {
  const scratch = createScratch(scratchFolder(context.config), { encrypted: backup.manifest.stored.encryption === 'age' });
  return examineCopy(backup, store, identities, context, (examined, file) => {
    const { revision, compactRevision } = examined.head;
    if (String(revision) !== backup.manifest.revision)
      throw new WardenError(
        'verification-failed',
        `${backup.id} holds revision ${revision}, its manifest says ${backup.manifest.revision}`,
      );
    const subject = { revision, compactRevision, voters: votersOf(view), local: examinedHash(examined, file, scratch) };
    return judge(subject, plan, asked, { access: accessOf(cluster), timeoutMs: cluster.proof.timeoutMs, context, advance });
  });
}

async function conclude(backup: Backup, store: Store, verdict: Verdict, { stores, cluster, context }: Run): Promise<Line> {
  const { id } = backup;
  const { proof, unproved, suspect } = verdict;
  const facts = { tool: toolName, now: context.now(), random: randomBytes, signal: context.signal };
  if (proof !== undefined) {
    await writeCheck([store], cluster.name, { kind: 'verify', id, store: store.name, level: 'proved', outcome: 'ok', proof }, facts);
    context.logger.info({ id, members: proof.members }, 'the backup is proved');
  }
  if (suspect !== undefined) {
    await writeCheck(stores, cluster.name, { kind: 'suspect', id, reason: suspect }, facts);
    context.logger.error({ id, reason: suspect }, 'the backup is suspect');
    return {
      id,
      outcome: 'suspect',
      reason: suspect,
      ...(verdict.disagreement === undefined ? {} : { disagreement: verdict.disagreement }),
    };
  }
  if (proof !== undefined) return { id, outcome: 'proved', proof };
  return { id, outcome: 'waiting', code: unproved?.code ?? 'inconclusive', reason: unproved?.reason ?? 'no member could be compared' };
}
