import { status as Code } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { explainCall, tokenRefused } from './call-errors.ts';
import { changedNothing } from './membership-errors.ts';

function failure(code: number, details: string): Error {
  return Object.assign(new Error(`${code} X: ${details}`), { code, details });
}

function explain(error: Error, user: string | undefined = 'backup') {
  return explainCall(error, {
    endpoint: 'https://10.0.0.1:2379',
    method: 'Maintenance/Snapshot',
    user,
    signal: undefined,
    deadlineMs: 5_000,
  });
}

test.each([
  // 3.4 and 3.5, then 3.6: the same refusals in two dialects.
  [Code.UNKNOWN, 'auth: permission denied', 'permission-denied', 'user backup lacks the root role, which Snapshot needs'],
  [Code.PERMISSION_DENIED, 'etcdserver: permission denied', 'permission-denied', 'user backup lacks the root role, which Snapshot needs'],
  [Code.UNKNOWN, 'auth: invalid auth token', 'login-failed', 'refuses the token of user backup'],
  [Code.UNAUTHENTICATED, 'etcdserver: invalid auth token', 'login-failed', 'refuses the token of user backup'],
  [Code.INVALID_ARGUMENT, 'etcdserver: authentication failed, invalid user ID or password', 'login-failed', 'refuses user backup'],
  [Code.UNAVAILABLE, 'etcdserver: no leader', 'no-quorum', 'no leader'],
  [Code.UNAVAILABLE, 'etcdserver: request timed out', 'no-quorum', 'request timed out'],
  [Code.UNKNOWN, 'raft proposal dropped', 'no-quorum', 'proposal dropped'],
  [Code.RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded', 'no-space', 'space exceeded'],
  [Code.OUT_OF_RANGE, 'etcdserver: mvcc: required revision has been compacted', 'revision-compacted', 'is compacted'],
  [Code.OUT_OF_RANGE, 'etcdserver: mvcc: required revision is a future revision', 'revision-future', 'not applied the revision yet'],
  [Code.UNAVAILABLE, 'etcdserver: rpc not supported for learner', 'learner', 'learners do not answer'],
  [Code.FAILED_PRECONDITION, 'etcdserver: rpc not supported for learner', 'learner', 'learners do not answer'],
  [Code.DEADLINE_EXCEEDED, 'Deadline exceeded after 5s', 'timeout', 'did not answer within 5000 ms'],
  [
    Code.UNAVAILABLE,
    'No connection established. Last error: connect ECONNREFUSED 10.0.0.1:2379. Resolution note: ',
    'unreachable',
    'connect ECONNREFUSED 10.0.0.1:2379',
  ],
  [
    Code.UNAVAILABLE,
    'No connection established. Last error: Error: certificate has expired. Resolution note: ',
    'tls-failed',
    'its certificate has expired',
  ],
  [Code.CANCELLED, 'Call cancelled', 'timeout', 'did not answer within 5000 ms'],
  [Code.UNKNOWN, 'context deadline exceeded', 'timeout', 'did not answer within 5000 ms'],
  [Code.UNAVAILABLE, 'etcdserver: not capable', 'etcd-failed', 'etcdserver: not capable'],
  [Code.UNKNOWN, 'something new', 'etcd-failed', 'Maintenance/Snapshot at https://10.0.0.1:2379: something new'],
])('%i %s is %s', (code, details, expected, sentence) => {
  const explained = explain(failure(code, details));
  expect(explained.code).toBe(expected);
  expect(explained.message).toContain(sentence);
});

test.each([
  ['unhealthy cluster', 'peers-not-connected', 'for the last 5 s'],
  ['re-configuration failed due to not enough started members', 'too-few-started', 'too few of its voters'],
  ['can only promote a learner member which is in sync with leader', 'learner-behind', '90 % of its raft log'],
  ['can only promote a learner member', 'not-learner', 'is a voter already'],
  ['too many learner members in cluster', 'too-many-learners', 'as many learners as it allows'],
  ['Peer URLs already exists', 'member-exists', 'another member has that peer URL'],
  ['member ID already exist', 'member-exists', 'a member with that id exists'],
  ['member not found', 'member-missing', 'there is no such member'],
  ['given member URLs are invalid', 'usage', 'does not take these peer URLs'],
])('a change of membership that etcd refuses as %j is %s, and nothing happened', (text, code, sentence) => {
  const call = { endpoint: 'http://m1', method: 'Cluster/MemberAdd', user: undefined, signal: undefined, deadlineMs: 5_000 };
  const explained = explainCall(failure(Code.FAILED_PRECONDITION, `etcdserver: ${text}`), call);
  expect(explained).toMatchObject({ code, message: expect.stringContaining(sentence), hint: expect.stringMatching(/./) });
  expect(changedNothing(explained)).toBe(true);
});

test('a change of membership whose answer was lost may have happened', () => {
  const call = { endpoint: 'http://m1', method: 'Cluster/MemberAdd', user: undefined, signal: undefined, deadlineMs: 5_000 };
  const lost = [
    failure(Code.DEADLINE_EXCEEDED, 'Deadline exceeded'),
    failure(Code.UNAVAILABLE, 'Connection dropped'),
    failure(Code.UNAVAILABLE, 'etcdserver: request timed out'),
    failure(Code.UNKNOWN, 'something new'),
  ];
  expect(lost.map((error) => changedNothing(explainCall(error, call)))).toEqual([false, false, false, false]);
  expect(changedNothing(explainCall(failure(Code.PERMISSION_DENIED, 'etcdserver: permission denied'), call))).toBe(true);
  expect(changedNothing(new Error('no answer of a member'))).toBe(false);
});

test('the errors of etcd3, which carry the code in their text alone, are read alike', () => {
  expect(explain(new Error('4 DEADLINE_EXCEEDED: Deadline exceeded')).code).toBe('timeout');
  expect(explain(new Error('14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED')).code).toBe('unreachable');
});

test('a member that wants a user where none is configured says what to configure', () => {
  const explained = explainCall(failure(Code.UNKNOWN, 'auth: user name is empty'), {
    endpoint: 'http://a:1',
    method: 'Maintenance/Snapshot',
    user: undefined,
    signal: undefined,
    deadlineMs: undefined,
  });
  expect(explained).toMatchObject({ code: 'login-failed', hint: expect.stringContaining('client certificate') as string });
});

test.each([
  'auth: invalid auth token',
  'etcdserver: invalid auth token',
  'auth: user name is empty',
  'etcdserver: revision of auth store is old',
  'auth: revision in header is old',
])('a new token may cure %j', (text) => {
  expect(tokenRefused(new Error(text))).toBe(true);
});

test('no new token cures a missing permission', () => {
  expect(tokenRefused(new Error('auth: permission denied'))).toBe(false);
});

test('the reason of the abort decides between interrupted and timeout', () => {
  const explainWith = (signal: AbortSignal) =>
    explainCall(new Error('cancelled'), { endpoint: 'x', method: 'y', user: undefined, signal, deadlineMs: 1 }).code;
  expect(explainWith(AbortSignal.abort())).toBe('interrupted');
  expect(explainWith(AbortSignal.abort(new DOMException('late', 'TimeoutError')))).toBe('timeout');
});
