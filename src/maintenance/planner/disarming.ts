/** When NOSPACE may be disarmed (H12): too early, and it is armed again at once, with every client between hope and refusal. */
import { checkOf, isRefused, passed, refused, type Check, type Decision } from './check.ts';
import { gatesFor } from './gates.ts';
import { isWithin } from './past.ts';
import { isNearQuota } from './thresholds.ts';
import type { Action, AlarmState } from './types.ts';
import { isNobody, sizesOf, type View } from './view.ts';
import { shareText, sizeText, timeText } from './words.ts';

/** Alarms of members that are gone (etcd #14379): nobody can be too full for them. Undefined = there are none. */
export function orphanDisarming(view: View): Decision | undefined {
  if (view.orphans.length === 0) return undefined;
  const checks = gatesFor('orphans', view);
  const shut = checks.filter(isRefused);
  if (shut.length > 0) return { checks, reasons: shut, complete: false };
  return {
    action: disarm(view.orphans, true, 'NOSPACE is armed for members that are none any more'),
    checks,
    reasons: [],
    complete: false,
  };
}

/** Alarms of members, when every member has room again. */
export function disarming(view: View): Decision {
  const checks = [...gatesFor('disarm', view), ...named(view), ...aboveThreshold(view), tooSoon(view)];
  const shut = checks.filter(isRefused);
  if (shut.length > 0) return { checks, reasons: shut, complete: false };
  return {
    action: disarm(view.noSpace, false, `every member is below ${shareText(view.policy.quotaShare)} of its quota`),
    checks,
    reasons: [],
    complete: false,
  };
}

function disarm(alarms: readonly AlarmState[], orphans: boolean, why: string): Action {
  return { kind: 'disarm', members: [...new Set(alarms.map(({ memberId }) => memberId))].filter((id) => !isNobody(id)), orphans, why };
}

function named({ noSpace }: View): readonly Check[] {
  if (!noSpace.every(({ memberId }) => isNobody(memberId))) return [];
  return [
    refused('not-armed', 'NOSPACE is armed for member id 0 alone, which is nobody', {
      hint: 'find out who armed it by hand; `etcdctl alarm disarm` takes it away',
    }),
  ];
}

/** Learners too: they apply every put, and arm the alarm as well. */
function aboveThreshold({ members, policy }: View): readonly Check[] {
  const full = members.filter((member) => member.reachable && isNearQuota(sizesOf(member), policy));
  if (full.length === 0) return [passed('above-threshold', `every member is below ${shareText(policy.quotaShare)} of its quota`)];
  return full.map((member) =>
    refused(
      'above-threshold',
      `${member.name} has ${sizeText(member.dbSize)}, not below ${shareText(policy.quotaShare)} of its quota of ${sizeText(member.quota.bytes!)} (${member.quota.source}); ${sizeText(member.dbSizeInUse)} are in use`,
      {
        member: member.name,
        hint: 'delete what is not needed and defragment again, keep less history (`--emergency-keep-revisions`), or start the members with a larger --quota-backend-bytes',
      },
    ),
  );
}

function tooSoon({ state, policy }: View): Check {
  const { disarmedMs } = state.past;
  if (disarmedMs === undefined || !isWithin(disarmedMs, policy.disarmEveryMs, state.nowMs))
    return checkOf('disarm-too-soon', 'passed', 'it was not disarmed lately');
  return refused(
    'disarm-too-soon',
    `NOSPACE was disarmed ${timeText(Math.max(0, state.nowMs - disarmedMs))} ago and is armed again: not twice in ${timeText(policy.disarmEveryMs)}`,
    {
      hint: 'find out who writes so much, delete it, or raise the quota; when it is a member that was down and came back as full as it was, `etcdctl alarm disarm` need not wait',
      againMs: disarmedMs + policy.disarmEveryMs,
    },
  );
}
