/** Gates about releases of etcd that do damage; which ones that are is in versions.ts. */
import { checkOf, passed, refused, type Check, type Purpose } from './check.ts';
import type { MemberState } from './types.ts';
import { hazardsOf, hazardText, type VersionHazard } from './versions.ts';
import type { View } from './view.ts';
import { namesOf, timeText } from './words.ts';

/** Warnings of everything that is known of these releases; what forbids a member is asked of that member alone (forbiddenFor). */
export function versionGates(purpose: Purpose, view: View): readonly Check[] {
  return [...(purpose === 'defrag' ? [...unchecked(view), ...restartedLately(view)] : []), ...warnings(purpose, view)];
}

/** What forbids to defragment this member. */
export function forbiddenFor(member: MemberState, { policy }: View): readonly Check[] {
  // What it runs is unknown because it does not answer, and that is said already.
  if (!member.reachable) return [];
  const forbidding = hazardsOf(member.version).filter(({ verdict }) => verdict === 'forbid');
  if (forbidding.length === 0) return [];
  return forbidding.map((hazard) => {
    const message = `${member.name}: ${hazardText(hazard, member.version)}`;
    if (policy.allowHazardousVersions)
      return checkOf('version-hazard', 'overridden', `${message}; maintenance.allowHazardousVersions was given`, { member: member.name });
    return refused('version-hazard', message, {
      member: member.name,
      hint: 'upgrade it; or, with a fresh backup at hand and knowing the risk, `maintenance.allowHazardousVersions: true`',
    });
  });
}

/** Of one that is caught up by a database of the leader's nothing else tells: without metrics it cannot be known to be safe. */
function unchecked({ up, policy }: View): readonly Check[] {
  const exposed = up.filter(isExposed);
  if (exposed.length === 0) return [passed('version-unchecked', 'every voter has the fix of etcd #20271')];
  const blind = exposed.filter(({ gauges }) => gauges?.raftSnapshotInflight === undefined || gauges.startedMs === undefined);
  if (blind.length === 0)
    return [passed('version-unchecked', `${namesOf(exposed)} lack the fix of etcd #20271, and their metrics can be read`)];
  return blind.map((member) => {
    const hazard = hazardsOf(member.version).find(isQuiet)!;
    const message = `${member.name}: ${hazardText(hazard, member.version)}, and whether one is cannot be told: ${member.gaugesError ?? 'its metrics do not tell'}`;
    if (policy.allowHazardousVersions)
      return checkOf('version-unchecked', 'overridden', `${message}; maintenance.allowHazardousVersions was given`, {
        member: member.name,
      });
    return refused('version-unchecked', message, {
      member: member.name,
      hint: 'say where its metrics are (`maintenance.metricsUrl`), upgrade it, or `maintenance.allowHazardousVersions: true`',
    });
  });
}

function restartedLately({ up, policy, state }: View): readonly Check[] {
  // One that was started in the future by its own clock was started at a time that nobody knows: that is not long ago.
  const lately = up
    .filter(isExposed)
    .filter(({ gauges }) => gauges?.startedMs !== undefined && state.nowMs - gauges.startedMs < policy.restartQuietMs);
  if (lately.length === 0)
    return [passed('restarted-lately', `no voter without the fix of etcd #20271 was started within ${timeText(policy.restartQuietMs)}`)];
  return lately.map((member) => {
    const startedMs = member.gauges!.startedMs!;
    return refused(
      'restarted-lately',
      `${member.name} was started ${timeText(Math.max(0, state.nowMs - startedMs))} ago and may still be given a database, which its etcd ${member.version} must not apply while it is defragmented (etcd #20271)`,
      { member: member.name, hint: 'wait, or upgrade it', againMs: startedMs + policy.restartQuietMs },
    );
  });
}

function isExposed({ version }: MemberState): boolean {
  return hazardsOf(version).some(isQuiet);
}

function isQuiet({ verdict }: VersionHazard): boolean {
  return verdict === 'quiet';
}

/** One for each hazard, whoever has it. What concerns neither this purpose nor anything later is left out: a compaction says nothing of defragmentation. */
function warnings(purpose: Purpose, { members }: View): readonly Check[] {
  if (purpose === 'disarm' || purpose === 'orphans') return [];
  const met = new Map<VersionHazard, MemberState[]>();
  for (const member of members.filter(({ reachable }) => reachable)) {
    for (const hazard of hazardsOf(member.version)) {
      const matters = purpose === 'defrag' ? hazard.touches !== 'compaction' : hazard.touches === 'compaction';
      if (hazard.verdict === 'warn' && matters) met.set(hazard, [...(met.get(hazard) ?? []), member]);
    }
  }
  return [...met].map(([hazard, having]) =>
    checkOf('version-hazard', 'warned', `${namesOf(having)}: ${hazardText(hazard, having[0]!.version)}`),
  );
}
