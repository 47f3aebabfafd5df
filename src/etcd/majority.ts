/** Which cluster is meant when the endpoints of a configuration answer for several: that of most who answer, and nobody's when there is none. */
import { WardenError } from '../errors.ts';
import { hex } from './ids.ts';

/** Who answered at an endpoint. */
export interface Identity {
  readonly endpoint: string;
  readonly clusterId: bigint;
  readonly memberId: bigint;
}

/** Each member once, however many of its addresses are configured. */
export function distinct<T extends Identity>(answers: readonly T[]): T[] {
  return [...new Map(answers.map((answer) => [`${answer.clusterId}/${answer.memberId}`, answer])).values()];
}

/** The cluster of more than half of them, each member counted once; undefined when there is none. */
export function majorityOf(answers: readonly Identity[]): bigint | undefined {
  const members = distinct(answers);
  const byCluster = Map.groupBy(members, ({ clusterId }) => clusterId);
  return [...byCluster].find(([, same]) => same.length * 2 > members.length)?.[0];
}

/** @param name of the cluster as it is configured. @throws WardenError `cluster-ids-disagree` when there is no majority */
export function clusterOfMost(name: string, answers: readonly Identity[]): bigint {
  const clusterId = majorityOf(answers);
  if (clusterId !== undefined) return clusterId;
  const who = distinct(answers).map((one) => `${one.endpoint} of ${hex(one.clusterId)}`);
  throw new WardenError(
    'cluster-ids-disagree',
    `the endpoints of ${name} belong to different clusters and none has a majority: ${who.join(', ')}`,
    { hint: 'remove the endpoints of the other cluster from the configuration' },
  );
}

const TELLING = ['permission-denied', 'login-failed', 'login-needs-quorum', 'config-invalid', 'tls-failed', 'timeout', 'unreachable'];

/** One sentence for all; the code of the failure that says most, since "connection refused" beside "permission denied" says nothing. */
export function nobodyAnswers(name: string, failures: readonly Error[]): WardenError {
  const errors = failures.filter((error) => error instanceof WardenError);
  const telling = errors.toSorted((a, b) => rank(a) - rank(b))[0];
  if (telling === undefined) return new WardenError('unreachable', `no endpoint of ${name} answers`);
  // A refused login is the same sentence for every endpoint.
  const sentences = [...new Set(errors.map((error) => error.message))];
  return new WardenError(telling.code, `no member of ${name} can be asked: ${sentences.join('; ')}`, {
    hint:
      telling.hint ??
      (telling.code === 'unreachable'
        ? 'name the members with --endpoints (or ETCDCTL_ENDPOINTS, or `endpoints` in the configuration)'
        : undefined),
    cause: telling,
  });
}

function rank({ code }: WardenError): number {
  const at = TELLING.indexOf(code);
  return at === -1 ? TELLING.length : at;
}
