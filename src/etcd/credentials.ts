/**
 * What all clients of one cluster share: the TLS files and the login. A token is valid on every member (etcd-formats 6.2), so there is one,
 * taken when it is first needed, and replaced once whenever a member refuses it. Only where one of the endpoints belongs to another cluster, as a member does
 * that was started as a new one, its token is nothing to the others: then an endpoint gets one of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asError, WardenError } from '../errors.ts';
import { abortable, authDisabled, explainCall } from './call-errors.ts';
import { Channel } from './channel.ts';
import { AUTHENTICATE } from './codecs.ts';
import { throughElections } from './elections.ts';
import { type Endpoint, parseEndpoint } from './endpoint.ts';
import { TlsMaterial } from './tls.ts';
import type { ClusterAccess } from './types.ts';

/** The next endpoint is asked to log in when the one before has been silent for this long. */
const LOGIN_STAGGER_MS = 1_000;
/** One job asks for the token several times; without quorum each login would take its whole deadline, only to fail the same way. */
const NO_QUORUM_REMEMBERED_MS = 5_000;

/** By access object, so that a job's clients, made at different times and places, log in once. */
const known = new WeakMap<ClusterAccess, Credentials>();

/** @throws WardenError `config-invalid` when an endpoint cannot be used. */
export function credentialsOf(access: ClusterAccess): Credentials {
  let credentials = known.get(access);
  if (credentials === undefined) {
    credentials = new Credentials(access);
    known.set(access, credentials);
  }
  return credentials;
}

export class Credentials {
  /** The configured ones, in order, each once. */
  readonly endpoints: readonly Endpoint[];
  readonly tls: TlsMaterial;
  readonly #access: ClusterAccess;
  /** Undefined after a login where authentication is off. */
  #token: string | undefined;
  #loggedIn: boolean;
  #login: Promise<string | undefined> | undefined;
  /** By URL: for endpoints that refused the one that all share. */
  readonly #own = new Map<string, Promise<string | undefined>>();
  #undecided: { readonly error: WardenError; readonly until: number } | undefined;

  constructor(access: ClusterAccess) {
    this.#access = access;
    this.tls = new TlsMaterial(access.tls ?? {});
    const parsed = access.endpoints.map((address) => this.parse(address));
    this.endpoints = [...new Map(parsed.map((endpoint) => [endpoint.url, endpoint])).values()];
    if (this.endpoints.length === 0) throw new WardenError('config-invalid', `cluster ${access.name} has no endpoints`);
    this.#token = access.token;
    this.#loggedIn = access.token !== undefined;
  }

  parse(address: string): Endpoint {
    const { tls } = this.#access;
    return parseEndpoint(address, tls?.caFile !== undefined || tls?.certFile !== undefined);
  }

  /** The token of the last login, for callers that asked for {@link token} before. */
  get currentToken(): string | undefined {
    return this.#token;
  }

  /** Whether the user's password and token may be sent there: never over http where any configured endpoint is https. */
  mayLogInAt(endpoint: Endpoint): boolean {
    return this.#access.user !== undefined && (endpoint.secure || !this.endpoints.some((one) => one.secure));
  }

  /** A token that may still be valid there, or undefined when none is needed. @throws WardenError what the login said. */
  token(signal: AbortSignal | undefined, at?: Endpoint): Promise<string | undefined> {
    const own = at === undefined ? undefined : this.#own.get(at.url);
    if (own !== undefined) return abortable(own, signal, 'the login');
    return this.#loggedIn ? Promise.resolve(this.#token) : this.#logInOnce(signal);
  }

  /** Another token than the one that was refused; when somebody replaced that already, no new login. */
  async renewedToken(refused: string | undefined, signal: AbortSignal | undefined, at?: Endpoint): Promise<string | undefined> {
    if (at !== undefined && this.#own.has(at.url)) return this.ownToken(refused, signal, at);
    if (this.#loggedIn && this.#token !== refused) return this.#token;
    this.#loggedIn = false;
    return this.#logInOnce(signal);
  }

  /** The same of a login at this endpoint and nowhere else, when it refused also the new one that all share. */
  async ownToken(refused: string | undefined, signal: AbortSignal | undefined, at: Endpoint): Promise<string | undefined> {
    const before = this.#own.get(at.url);
    const known = before === undefined ? undefined : await abortable(before, signal, 'the login');
    if (known !== undefined && known !== refused) return known;
    // Somebody else may have begun meanwhile.
    if (this.#own.get(at.url) === before) {
      const login = this.#logInAt([at]);
      this.#own.set(at.url, login);
      login.catch(() => {
        if (this.#own.get(at.url) === login) this.#own.delete(at.url);
      });
    }
    return abortable(this.#own.get(at.url) ?? Promise.resolve(undefined), signal, 'the login');
  }

  /** All who wait share one login; one of them giving up does not take it from the others. */
  async #logInOnce(signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#undecided !== undefined && performance.now() < this.#undecided.until) throw this.#undecided.error;
    this.#login ??= this.#logIn().finally(() => {
      this.#login = undefined;
    });
    const login = this.#login;
    return abortable(login, signal, 'the login');
  }

  async #logIn(): Promise<string | undefined> {
    try {
      this.#token = await this.#logInAt(this.endpoints);
      this.#loggedIn = true;
      return this.#token;
    } catch (error) {
      if (error instanceof WardenError && error.code === 'login-needs-quorum')
        this.#undecided = { error, until: performance.now() + NO_QUORUM_REMEMBERED_MS };
      throw error;
    }
  }

  async #logInAt(endpoints: readonly Endpoint[]): Promise<string | undefined> {
    const { user, password, name } = this.#access;
    if (user === undefined) return undefined;
    if (password === undefined) throw new WardenError('config-invalid', `user ${user} of cluster ${name} has no password`);
    const secret = password();
    const stop = new AbortController();
    const failures: WardenError[] = [];
    const tries = endpoints
      .filter((endpoint) => this.mayLogInAt(endpoint))
      .map(async (endpoint, index) => {
        try {
          // A refused connection or a "no leader" comes at once; a silent member must not hold up the others.
          if (index > 0) await sleep(index * LOGIN_STAGGER_MS, undefined, { signal: stop.signal });
          return await this.#authenticate(endpoint, user, secret, stop.signal);
        } catch (error) {
          if (!stop.signal.aborted && error instanceof WardenError) failures.push(error);
          // A wrong password is wrong everywhere.
          if (error instanceof WardenError && error.code === 'login-failed') stop.abort();
          throw error;
        }
      });
    try {
      return await Promise.any(tries);
    } catch (error) {
      throw loginError(failures, user, error);
    } finally {
      stop.abort();
    }
  }

  async #authenticate(endpoint: Endpoint, name: string, password: string, signal: AbortSignal): Promise<string | undefined> {
    const { requestTimeoutMs: timeoutMs, dialTimeoutMs } = this.#access;
    const channel = new Channel(endpoint, this.tls, {});
    try {
      const reply = await throughElections({ timeoutMs, signal }, (leftMs) =>
        channel.unary(AUTHENTICATE, { name, password }, { token: undefined, timeoutMs: leftMs, dialTimeoutMs, signal }),
      );
      return reply.token;
    } catch (error) {
      if (authDisabled(error)) return undefined;
      throw explainCall(error, { endpoint: endpoint.url, method: 'Auth/Authenticate', user: name, signal, deadlineMs: timeoutMs });
    } finally {
      channel.close();
    }
  }
}

/** One reason out of several: what was decided beats what was not, an answer beats silence. */
function loginError(failures: readonly WardenError[], user: string, thrown: unknown): WardenError {
  const refused = failures.find((failure) => failure.code === 'login-failed' || failure.code === 'tls-failed');
  if (refused !== undefined) return refused;
  const undecided = failures.find((failure) => failure.code === 'no-quorum' || failure.code === 'timeout');
  if (undecided !== undefined) {
    return new WardenError('login-needs-quorum', `user ${user} cannot log in while the cluster has no quorum: ${undecided.message}`, {
      hint: 'a password is checked through raft; a client certificate whose common name is a user with the root role works without quorum, and so does a token that is still alive',
      cause: undecided,
    });
  }
  return failures[0] ?? new WardenError('login-failed', `user ${user} cannot log in: ${asError(thrown).message}`, { cause: thrown });
}
