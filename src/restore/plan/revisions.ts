/** Whether the revisions of the restored cluster are raised, as far as it is known before the backup is read, and why. */
import type { PlanInput, RestorePlan } from './types.ts';

/** As `--bump-revision` is advised for Kubernetes: more revisions than a week at 1500 writes a second. */
const DEFAULT_BUMP = 1_000_000_000n;

const WATCHERS =
  'Everything before is marked compacted, so that whoever watches from a revision that it saw before is told so (ErrCompacted, in Kubernetes 410 Gone) and lists anew. It is permanent: revisions go on from there.';
const CACHES =
  'API servers, kubelets and controllers cache revisions and take a cluster whose revisions went back for one where nothing happened';

export function raisedRevisions({ source, content, platform }: PlanInput): RestorePlan['revisions'] {
  if (platform === 'rke2' || platform === 'k3s')
    return {
      raised: 'no',
      why: `${platform} restores by its own procedure, which does not raise revisions: ${CACHES}. That is why everything that caches is restarted below.`,
    };
  const { bump } = content;
  if (bump === 'none') {
    const danger = source.kubernetes === false ? '' : ` ${CACHES}: restart every one of them before anybody relies on it.`;
    return { raised: 'no', why: `as told by --no-bump.${danger}` };
  }
  if (bump !== 'auto') return { raised: 'yes', ...figures(bump.by, source.revision, content.revision), why: `as told. ${WATCHERS}` };
  if (source.kubernetes === false)
    return {
      raised: 'no',
      why: 'it holds no keys of Kubernetes. --bump-revision raises them all the same, where other clients cache revisions.',
    };
  const figured = figures(DEFAULT_BUMP, source.revision, content.revision);
  if (source.kubernetes === true) return { raised: 'yes', ...figured, why: `it holds keys of Kubernetes: ${CACHES}. ${WATCHERS}` };
  return {
    raised: 'if-kubernetes',
    ...figured,
    why: `when keys of Kubernetes are found in it, which is known once it is read: ${CACHES}. ${WATCHERS}`,
  };
}

function figures(by: bigint, newest: string | undefined, asked: bigint | undefined): { by: string; from?: string; to?: string } {
  const from = asked ?? (newest === undefined ? undefined : BigInt(newest));
  return { by: by.toString(), ...(from === undefined ? {} : { from: from.toString(), to: (from + by).toString() }) };
}
