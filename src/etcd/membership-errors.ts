/**
 * What etcd answers when it does not change its membership, in our words. All of these are given before anything was proposed, or after a proposal that changed
 * nothing: whoever reads one knows that nothing happened. An answer that is none of them (a deadline, a broken connection, `request timed out`) leaves it open.
 *
 * Sources: server/etcdserver/server.go (mayAddMember, mayRemoveMember, mayPromoteMember), api/membership/cluster.go ValidateConfigurationChange, the texts of
 * api/v3rpc/rpctypes/error.go; the same from 3.4 to 3.7.
 */
import { type ErrorCode, WardenError } from '../errors.ts';

interface Fault {
  readonly text: string;
  readonly code: ErrorCode;
  readonly sentence: string;
  readonly hint: string;
}

const FAULTS: readonly Fault[] = [
  {
    text: 'unhealthy cluster',
    code: 'peers-not-connected',
    sentence: 'the member that was asked has not been connected to enough of the others for the last 5 s',
    hint: 'it passes by itself a few seconds after every member runs; etcd before 3.5.30 (and 3.6 before the same fix) refuses an addition for as long as any one voter is down, although the others have quorum (etcd #21640): start it, remove it, or upgrade',
  },
  {
    text: 're-configuration failed due to not enough started members',
    code: 'too-few-started',
    sentence: 'too few of its voters would have been started for a quorum',
    hint: 'start the members that were added before, or remove them: `etcd-warden member list` names them',
  },
  {
    text: 'can only promote a learner member which is in sync with leader',
    code: 'learner-behind',
    sentence: 'the learner has not received enough of what the leader has yet (90 % of its raft log)',
    hint: 'wait until it has caught up; a learner that does not move is not started, or cannot reach the leader',
  },
  {
    text: 'can only promote a learner member',
    code: 'not-learner',
    sentence: 'the member is a voter already',
    hint: 'there is nothing to promote',
  },
  {
    text: 'too many learner members in cluster',
    code: 'too-many-learners',
    sentence: 'it has as many learners as it allows',
    hint: 'promote or remove the learner there is; --max-learners of etcd (3.6+) allows more than one',
  },
  {
    text: 'Peer URLs already exists',
    code: 'member-exists',
    sentence: 'another member has that peer URL',
    hint: 'remove that member first when it is gone, by its id: `etcd-warden member list`',
  },
  {
    text: 'member ID already exist',
    code: 'member-exists',
    sentence: 'a member with that id exists',
    hint: 'ask again a second later: the id is made from the peer URLs and the time',
  },
  {
    text: 'member not found',
    code: 'member-missing',
    sentence: 'there is no such member (any more)',
    hint: '`etcd-warden member list` names those there are',
  },
  {
    text: 'given member URLs are invalid',
    code: 'usage',
    sentence: 'it does not take these peer URLs',
    hint: 'scheme, host and port, nothing behind: https://10.0.0.1:2380',
  },
];

/** @param what the call and where it was made. @returns undefined when the text is none of these */
export function membershipRefusal(details: string, what: string, cause: Error): WardenError | undefined {
  const fault = FAULTS.find(({ text }) => details.includes(text));
  return fault === undefined ? undefined : new WardenError(fault.code, `${what}: ${fault.sentence}`, { hint: fault.hint, cause });
}

const BEFORE_ANYTHING: ReadonlySet<ErrorCode> = new Set([
  ...FAULTS.map(({ code }) => code),
  'permission-denied',
  'login-failed',
  'login-needs-quorum',
  'tls-failed',
  'config-invalid',
  'no-space',
  'learner',
  'refused',
]);

/** Whether the failed call certainly changed nothing. Of everything else only the member list can tell. */
export function changedNothing(error: unknown): boolean {
  return error instanceof WardenError && BEFORE_ANYTHING.has(error.code);
}
