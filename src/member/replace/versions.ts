/**
 * Whether a member comes back as a learner, which counts for no majority until it has caught up, or at once as a voter, because the releases that run
 * do harm to promoted learners. Pure.
 */

export interface Joining {
  readonly as: 'learner' | 'voter';
  readonly why: string;
  /** What to know of either way. */
  readonly warning: string | undefined;
}

interface Bug {
  readonly issue: string;
  readonly hits: (version: readonly [number, number, number]) => boolean;
  readonly what: string;
  /** Promotion does not work at all there, so that a stop of the cluster is the lesser evil. */
  readonly barring: (votersLeft: number) => boolean;
}

const BUGS: readonly Bug[] = [
  {
    issue: 'etcd #19557',
    hits: ([major, minor, patch]) => major === 3 && minor === 5 && patch >= 1 && patch <= 19,
    what: 'a promotion is not written to the database, and an upgrade to 3.6 finds a learner again',
    barring: () => false,
  },
  {
    issue: 'etcd #20340',
    hits: ([major, minor, patch]) => major === 3 && minor === 6 && patch <= 3,
    what: 'a member that replays a promotion when it starts may fail to start',
    barring: () => false,
  },
  {
    issue: 'etcd #11640',
    hits: ([major, minor, patch]) => major === 3 && minor === 4 && patch <= 15,
    what: 'a learner cannot be promoted in a cluster of one voter',
    barring: (votersLeft) => votersLeft === 1,
  },
];

/**
 * @param versions of the members that are left; unknown ones say nothing
 * @param votersLeft without the new one
 */
export function joiningFor(versions: readonly string[], votersLeft: number): Joining {
  const parsed = versions.flatMap((version) => triple(version));
  const hit = BUGS.find((bug) => parsed.some((version) => bug.hits(version)) && (bug.issue !== 'etcd #11640' || bug.barring(votersLeft)));
  if (hit === undefined) return { as: 'learner', why: 'a learner takes part in no vote before it has caught up', warning: undefined };
  const reason = `${hit.issue}: ${hit.what}`;
  // A voter that has not started yet would be half of the cluster, and nothing is accepted until it runs.
  if (votersLeft === 1 && !hit.barring(votersLeft)) {
    return {
      as: 'learner',
      why: 'as a voter beside the only other one it would stop the cluster until it runs',
      warning: `${reason}; upgrade to the newest release of this minor before any other upgrade`,
    };
  }
  const stop = votersLeft === 1 ? 'the cluster accepts nothing from its addition until it runs' : undefined;
  return { as: 'voter', why: reason, warning: stop };
}

function triple(version: string): [number, number, number][] {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version);
  return match === null ? [] : [[Number(match[1]), Number(match[2]), Number(match[3])]];
}
