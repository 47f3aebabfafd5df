/** The whole cure of NOSPACE: compact, defragment every member that has something to give, disarm. In this order, and each only after the one before. */
import { emergencyCompaction } from './compaction.ts';
import { isRefused, joined, type Decision } from './check.ts';
import { defragmentation } from './defragmentation.ts';
import { disarming } from './disarming.ts';
import { gatesFor } from './gates.ts';
import type { View } from './view.ts';

export function cure(view: View): Decision {
  const rolling = defragmentation(view.up, 'cure', view);
  const compaction = emergencyCompaction(view);
  if (compaction !== undefined) return { ...compaction, checks: joined(compaction.checks, rolling.checks) };
  // The size of a member that is down cannot be read and its freeze not be spared: compaction is all that may be done without being told to (H26).
  const shut = gatesFor('disarm', view).filter(isRefused);
  if (shut.length > 0) return { checks: rolling.checks, reasons: shut, complete: false };
  if (!rolling.complete) return rolling;
  const last = disarming(view);
  return { ...last, checks: joined(last.checks, rolling.checks), reasons: [...last.reasons, ...rolling.reasons] };
}
