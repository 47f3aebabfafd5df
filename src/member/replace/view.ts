/** What a replacement needs of a look at the members. Pure. */
import type { MembershipSight } from '../types.ts';
import type { ClusterSight, SeenMember } from './types.ts';

export function viewOf(sight: MembershipSight, strays: ClusterSight['strays'] = []): ClusterSight {
  return {
    clusterId: sight.clusterId,
    quorum: sight.quorum,
    alarms: sight.alarms,
    strays: [...sight.strays, ...strays.filter(({ endpoint }) => !sight.strays.some((one) => one.endpoint === endpoint))].map(
      ({ endpoint, clusterId, memberId }) => ({ endpoint, clusterId, memberId }),
    ),
    members: sight.members.map((member): SeenMember => ({
      id: member.id,
      name: member.name,
      peerUrls: member.peerUrls,
      clientUrls: member.clientUrls,
      learner: member.learner,
      started: member.started,
      reachable: member.reachable,
      answers: member.learner ? member.reachable && member.status?.leader !== 0n : member.readMs !== undefined,
      leads: sight.leader === member.id,
      lag: member.lag,
      version: member.status?.version,
      dbSize: member.status?.dbSize,
      endpoint: member.endpoint,
      error: member.error?.message,
    })),
  };
}
