/**
 * Which token a call to one endpoint carries. The one that all share first; a refused one is replaced once, because tokens expire and a restarted member forgets
 * them; and where also the new one is refused, one of a login at this endpoint alone, which may belong to another cluster.
 */
import { WardenError } from '../errors.ts';
import { tokenRefused } from './call-errors.ts';
import type { Credentials } from './credentials.ts';
import type { Endpoint } from './endpoint.ts';

export interface LoginOptions {
  readonly signal: AbortSignal | undefined;
  /** Call without a token when a login is impossible for want of a quorum. */
  readonly optional: boolean;
}

/**
 * @param attempt may be made up to three times, each time after a refusal of its token; it explains its errors
 * @throws WardenError what the last attempt, or the login, said
 */
export async function authenticated<T>(
  credentials: Credentials,
  endpoint: Endpoint,
  options: LoginOptions,
  attempt: (token: string | undefined) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  const token = await tokenAt(credentials, endpoint, options);
  try {
    return await attempt(token);
  } catch (error) {
    if (!renewable(credentials, endpoint, error)) throw error;
  }
  const renewed = await credentials.renewedToken(token, signal, endpoint);
  let refusal: unknown;
  try {
    return await attempt(renewed);
  } catch (error) {
    if (!renewable(credentials, endpoint, error)) throw error;
    refusal = error;
  }
  return await attempt(await ownTokenAt(credentials, endpoint, { refused: renewed, signal, refusal }));
}

/** To be sent there; undefined = none. @throws WardenError what the login said */
export async function tokenAt(
  credentials: Credentials,
  endpoint: Endpoint,
  { signal, optional }: LoginOptions,
): Promise<string | undefined> {
  if (!credentials.mayLogInAt(endpoint)) return undefined;
  try {
    return await credentials.token(signal, endpoint);
  } catch (error) {
    const code = error instanceof WardenError ? error.code : undefined;
    if (optional && code === 'login-needs-quorum') return undefined;
    // Another endpoint refused the password: it may belong to another cluster, which knows nobody of that name.
    if (code === 'login-failed' && credentials.endpoints.length > 1)
      return await ownTokenAt(credentials, endpoint, { refused: undefined, signal, refusal: error });
    throw error;
  }
}

/** Of a login at this endpoint. Where nobody can log in (a learner takes no logins), the refusal says more than that. @throws the refusal */
export async function ownTokenAt(
  credentials: Credentials,
  endpoint: Endpoint,
  {
    refused,
    signal,
    refusal,
  }: { readonly refused: string | undefined; readonly signal: AbortSignal | undefined; readonly refusal: unknown },
): Promise<string | undefined> {
  try {
    return await credentials.ownToken(refused, signal, endpoint);
  } catch (error) {
    throw signal?.aborted === true ? error : refusal;
  }
}

/** Whether another token may cure what a call ended with. */
export function renewable(credentials: Credentials, endpoint: Endpoint, error: unknown): boolean {
  return credentials.mayLogInAt(endpoint) && error instanceof WardenError && error.code === 'login-failed' && tokenRefused(error.cause);
}
