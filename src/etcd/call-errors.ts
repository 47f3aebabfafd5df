/**
 * What went wrong with a call to a member, in our words. etcd speaks two dialects: 3.4 and 3.5 return the errors of Snapshot, Defragment and
 * HashKV unmapped, as code UNKNOWN with the prefix `auth: `; every other call, and 3.6 on, uses proper codes and `etcdserver: `. So the text
 * decides, with either prefix.
 */
import { type ServiceError, status as Code } from '@grpc/grpc-js';
import { asError, WardenError } from '../errors.ts';
import { membershipRefusal } from './membership-errors.ts';

export interface CallContext {
  readonly endpoint: string;
  /** As in `Maintenance/Snapshot`, without the package. */
  readonly method: string;
  readonly user: string | undefined;
  readonly signal: AbortSignal | undefined;
  /** Milliseconds; for the sentence. */
  readonly deadlineMs: number | undefined;
}

const TOKEN_REFUSED = /(auth|etcdserver): (invalid auth token|user name is empty|revision of auth store is old|revision in header is old)/;
const PERMISSION_DENIED = /(auth|etcdserver): permission denied/;
const NO_QUORUM = /etcdserver: (no leader|request timed out|leader changed|not leader|server stopped)|raft: stopped|raft proposal dropped/;
const LOGIN_REFUSED = /authentication failed, invalid user ID or password|authentication is not enabled/;

/** A refusal that a fresh token may cure: expired, forgotten by a restarted member, or older than the last change of users or roles. */
export function tokenRefused(thrown: unknown): boolean {
  return TOKEN_REFUSED.test(asError(thrown).message);
}

export function authDisabled(thrown: unknown): boolean {
  return asError(thrown).message.includes('authentication is not enabled');
}

export function explainCall(thrown: unknown, call: CallContext): WardenError {
  if (thrown instanceof WardenError) return thrown;
  const error = asError(thrown);
  const details = detailsOf(error);
  const what = `${call.method} at ${call.endpoint}`;
  if (call.signal?.aborted) return interruption(call.signal, what);
  if (PERMISSION_DENIED.test(details)) {
    const method = call.method.split('/').pop();
    return new WardenError('permission-denied', `user ${call.user ?? '(none)'} lacks the root role, which ${method} needs`, {
      hint: `etcdctl user grant-role ${call.user ?? 'USER'} root`,
      cause: error,
    });
  }
  if (TOKEN_REFUSED.test(details)) {
    return call.user === undefined
      ? new WardenError('login-failed', `${call.endpoint} wants a user: ${details}`, {
          hint: 'configure user and password, or a client certificate whose common name is a user with the root role',
          cause: error,
        })
      : new WardenError('login-failed', `${call.endpoint} refuses the token of user ${call.user}: ${details}`, { cause: error });
  }
  if (LOGIN_REFUSED.test(details)) {
    return new WardenError('login-failed', `${call.endpoint} refuses user ${call.user ?? '(none)'}: ${details}`, {
      hint: 'check the user and the password',
      cause: error,
    });
  }
  if (NO_QUORUM.test(details)) return new WardenError('no-quorum', `${what}: ${details}`, { cause: error });
  if (details.includes('database space exceeded')) {
    return new WardenError('no-space', `${what}: ${details}`, { hint: 'compact, defragment and disarm the NOSPACE alarm', cause: error });
  }
  if (details.includes('required revision has been compacted'))
    return new WardenError('revision-compacted', `${what}: the revision is compacted`, { cause: error });
  if (details.includes('required revision is a future revision'))
    return new WardenError('revision-future', `${what}: the member has not applied the revision yet`, { cause: error });
  if (details.includes('not supported for learner'))
    return new WardenError('learner', `${what}: learners do not answer it`, { cause: error });
  const refusal = call.method.startsWith('Cluster/') ? membershipRefusal(details, what, error) : undefined;
  if (refusal !== undefined) return refusal;
  const code = codeOf(error);
  // The member sees the deadline too and may be the first to give up: it resets the stream, or passes its own words on.
  const late = code === Code.DEADLINE_EXCEEDED || code === Code.CANCELLED || /context (deadline exceeded|canceled)/.test(details);
  if (late && call.deadlineMs !== undefined) {
    return new WardenError('timeout', `${what} did not answer within ${call.deadlineMs} ms`, { cause: error });
  }
  if ((code === Code.UNAVAILABLE || code === Code.INTERNAL || code === Code.CANCELLED) && !details.startsWith('etcdserver:'))
    return connectionError(what, call.endpoint, details, error);
  return new WardenError('etcd-failed', `${what}: ${details}`, { cause: error });
}

/** The reason of the abort when it says more than "aborted". */
export function interruption(signal: AbortSignal, what: string): WardenError {
  const reason: unknown = signal.reason;
  if (reason instanceof WardenError) return reason;
  if (reason instanceof Error && reason.name === 'TimeoutError')
    return new WardenError('timeout', `${what} did not end in time`, { cause: reason });
  return new WardenError('interrupted', `${what} was stopped`, { cause: reason });
}

/** Stops waiting when the caller gives up; what was waited for goes on to its own deadline, for others who may wait for it too. */
export async function abortable<T>(pending: Promise<T>, signal: AbortSignal | undefined, what: string): Promise<T> {
  if (signal === undefined) return pending;
  pending.catch(() => {}); // nobody may be listening any more
  const gaveUp = Promise.withResolvers<never>();
  const onAbort = (): void => gaveUp.reject(interruption(signal, what));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([pending, gaveUp.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

interface TlsFault {
  readonly pattern: RegExp;
  readonly sentence: string;
  readonly hint: string;
}

const TLS_FAULTS: readonly TlsFault[] = [
  {
    pattern: /certificate has expired|CERT_HAS_EXPIRED/i,
    sentence: 'its certificate has expired',
    hint: 'renew the server certificate of that member',
  },
  {
    pattern: /not yet valid|CERT_NOT_YET_VALID/i,
    sentence: 'its certificate is not valid yet',
    hint: 'compare the clocks of the two machines',
  },
  {
    pattern: /does not match certificate|ERR_TLS_CERT_ALTNAME/i,
    sentence: 'its certificate is for another name',
    hint: 'use a name that the certificate lists, or set the server name to one of them',
  },
  {
    pattern:
      /self[- ]signed certificate in certificate chain|unable to get (local )?issuer|unable to verify the first certificate|certificate signature failure|UNABLE_TO_/i,
    sentence: 'its certificate is signed by a CA that is not trusted here',
    hint: 'set the CA file to the CA that signed the server certificates',
  },
  {
    pattern: /self[- ]signed certificate|DEPTH_ZERO_SELF_SIGNED/i,
    sentence: 'its certificate is self-signed',
    hint: 'set the CA file to that certificate, if it is the one you expect',
  },
  {
    pattern: /alert certificate required|alert number 116|alert bad certificate|alert number 42/i,
    sentence: 'it wants a client certificate that it trusts',
    hint: 'set certFile and keyFile to a client certificate signed by the CA that etcd trusts',
  },
  {
    pattern: /alert unknown ca|alert number 48|alert certificate (expired|unknown|revoked)|alert number 4[456]/i,
    sentence: 'it does not accept our client certificate',
    hint: 'the client certificate has expired, or another CA signed it than the one that etcd trusts',
  },
  {
    pattern: /wrong version number|packet length too long|record layer failure/i,
    sentence: 'it does not speak TLS',
    hint: 'use http:// for this endpoint',
  },
];

function connectionError(what: string, endpoint: string, details: string, cause: Error): WardenError {
  const fault = TLS_FAULTS.find((one) => one.pattern.test(details));
  if (fault !== undefined) {
    return new WardenError('tls-failed', `no TLS connection to ${endpoint}: ${fault.sentence} (${lastError(details)})`, {
      hint: fault.hint,
      cause,
    });
  }
  return new WardenError('unreachable', `${what}: ${lastError(details)}`, { hint: schemeHint(endpoint, details), cause });
}

/** A wrong scheme shows only as a connection that the other side closes at once. */
function schemeHint(endpoint: string, details: string): string | undefined {
  if (endpoint.startsWith('http:') && details.includes('Failed to connect'))
    return 'if that member wants TLS, write https:// and set the CA file';
  if (endpoint.startsWith('https:') && details.includes('disconnected before secure TLS'))
    return 'if that member speaks no TLS, write http://';
  return undefined;
}

/** grpc-js wraps the one thing that matters: "No connection established. Last error: connect ECONNREFUSED … Resolution note: …". */
function lastError(details: string): string {
  return details
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\.? ?Resolution note: ?.*$/s, '')
    .replace(/^Error: /, '')
    .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, '') // when, which the log tells too
    .replace(/^[0-9A-F]+:error:[0-9A-F]+:SSL routines:\w*:([^:]+):[\s\S]*$/, '$1') // OpenSSL's source file and line
    .trim();
}

const CODE_PREFIX = /^(\d+) [A-Z_]+: /;

/** etcd3 turns gRPC's errors into classes of its own: the code is left only at the start of the message. */
function codeOf(error: Error): number | undefined {
  const { code } = error as Partial<ServiceError>;
  const prefix = CODE_PREFIX.exec(error.message)?.[1];
  return typeof code === 'number' ? code : prefix === undefined ? undefined : Number(prefix);
}

function detailsOf(error: Error): string {
  const details = (error as Partial<ServiceError>).details;
  return typeof details === 'string' && details !== '' ? details : error.message.replace(CODE_PREFIX, '');
}
