/** May one member be taken away at all? */
import { checkOf, passed, refused, type Check } from './check.ts';
import { isHealthy, type View } from './view.ts';

/** One or two voters are treated alike: freezing either of two stops the cluster as well (H26). */
export function quorumGates(view: View): readonly Check[] {
  return view.voters.length <= 2 ? [singleMember(view)] : [quorumAtRisk(view)];
}

function singleMember({ voters, policy, wish }: View): Check {
  const message = `there ${voters.length === 1 ? 'is one voter' : `are ${voters.length} voters`}: while one is frozen the cluster accepts nothing`;
  // A dry run plans as if somebody had said yes, so that nothing here may say that he has.
  const yes = wish.kind === 'defrag' && wish.yes ? 'a yes goes over it' : undefined;
  const why = policy.allowSingleMember ? 'maintenance.allowSingleMember was given' : yes;
  if (why !== undefined) return checkOf('single-member', 'overridden', `${message}; ${why}`);
  return refused('single-member', message, {
    hint: 'by hand: `etcd-warden defrag --all --yes`; for the daemon: `maintenance.allowSingleMember: true`',
  });
}

function quorumAtRisk(view: View): Check {
  const healthy = view.voters.filter((member) => isHealthy(member, view)).length;
  const left = healthy - 1;
  if (left >= view.quorum)
    return passed('quorum-at-risk', `with one frozen ${left} of ${view.voters.length} voters are left, and ${view.quorum} are enough`);
  const message = `with one frozen ${Math.max(0, left)} of ${view.voters.length} voters would be left, and ${view.quorum} are needed`;
  if (view.degraded) return checkOf('quorum-at-risk', 'overridden', `${message}; --degraded was given`);
  return refused('quorum-at-risk', message, { hint: 'bring the other members back first' });
}
