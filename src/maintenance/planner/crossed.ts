/** A cheap look between the daemon's planned ones: is there a reason to plan at all? */
import { freeBytes, isNearQuota, isTooFree, quotaShareOf, type Sizes } from './thresholds.ts';
import type { AlarmState, Policy } from './types.ts';
import { byId, shareText, sizeText } from './words.ts';

export interface Crossing {
  readonly what: 'no-space' | 'near-quota' | 'too-free';
  /** Name of the member; undefined = the cluster. */
  readonly member: string | undefined;
  readonly message: string;
}

export interface CrossedMember extends Sizes {
  readonly id: string;
  readonly name: string;
  /** Learners are never defragmented, so their sizes cross nothing. */
  readonly voter: boolean;
}

/** Which thresholds are crossed, by what Status tells; in a stable order. Empty = a look would find nothing to do. */
export function crossed(
  members: readonly CrossedMember[],
  alarms: readonly AlarmState[],
  policy: Pick<Policy, 'quotaShare' | 'freeShare' | 'minFree' | 'minGain'>,
): Crossing[] {
  const noSpace = alarms.some(({ type }) => type === 'NOSPACE');
  const found: Crossing[] = noSpace ? [{ what: 'no-space', member: undefined, message: 'NOSPACE is armed' }] : [];
  for (const member of [...members].sort(byId)) {
    const free = freeBytes(member);
    // Less than that is not defragmented for, so it is no reason to look.
    if (!member.voter || free < policy.minGain) continue;
    if (isNearQuota(member, policy)) {
      const message = `${member.name} is at ${shareText(quotaShareOf(member) ?? 0)} of its quota, and ${sizeText(free)} of it are free`;
      found.push({ what: 'near-quota', member: member.name, message });
    } else if (isTooFree(member, policy)) {
      found.push({
        what: 'too-free',
        member: member.name,
        message: `${sizeText(free)} of the ${sizeText(member.dbSize)} of ${member.name} are free`,
      });
    }
  }
  return found;
}
