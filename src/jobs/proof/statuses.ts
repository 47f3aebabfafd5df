/** Who can be asked now: since the snapshot began a member may have gone, or another one lead. */
import { MemberClient } from '../../etcd/member.ts';
import type { ClusterAccess, ClusterView, MemberStatus } from '../../etcd/types.ts';

/** Those of the view that answered then and answer now; a status costs them nothing. @throws only when the caller gave up */
export async function freshStatuses(access: ClusterAccess, view: ClusterView, signal: AbortSignal): Promise<MemberStatus[]> {
  const known = view.members.flatMap((member) => (member.reachable && member.status.clusterId === view.clusterId ? [member.status] : []));
  const fresh = await Promise.all(known.map((status) => freshStatus(access, status, signal)));
  return fresh.flat();
}

/** Members that could answer if they were up. */
export function votersOf(view: ClusterView): number {
  return view.members.filter((member) => !member.reachable || member.status.role !== 'learner').length;
}

async function freshStatus(access: ClusterAccess, known: MemberStatus, signal: AbortSignal): Promise<MemberStatus[]> {
  const client = new MemberClient(access, known.endpoint);
  try {
    const status = await client.status(signal);
    // Its name is known from the member list alone.
    return status.memberId === known.memberId && status.clusterId === known.clusterId ? [{ ...status, name: known.name }] : [];
  } catch {
    // Whoever does not answer now cannot be asked; that nobody does is told as such.
    signal.throwIfAborted();
    return [];
  } finally {
    client.close();
  }
}
