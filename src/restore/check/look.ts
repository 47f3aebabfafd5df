/**
 * One round of asking a restored cluster everything but its hash: nothing here freezes anybody. Unlike a backup, which goes on with the majority, it wants an
 * answer from everybody under every address, since a stray member is just what must not be overlooked.
 */
import { asError, WardenError } from '../../errors.ts';
import { credentialsOf } from '../../etcd/credentials.ts';
import { type Endpoint, whyNotDial } from '../../etcd/endpoint.ts';
import { hex } from '../../etcd/ids.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { ClusterAccess, ListedMember, MemberStatus } from '../../etcd/types.ts';

/** What answered at one address. */
export interface Seen {
  readonly status: MemberStatus;
  /** The member list as this member has it. */
  readonly listed: readonly ListedMember[] | undefined;
  /** What a read that needs the quorum, or the list, failed with: both are asked again in the next round. */
  readonly failures: readonly string[];
}

export interface Look {
  readonly seen: readonly Seen[];
  readonly silent: readonly { readonly endpoint: string; readonly error: Error }[];
  readonly notes: readonly string[];
}

/** That no later round would mend: whoever asks has not the right to. */
const HOPELESS: ReadonlySet<string> = new Set(['permission-denied', 'login-failed', 'config-invalid']);

/**
 * Asks all endpoints, and the addresses that members of this cluster advertise.
 * @throws WardenError `login-failed`, `permission-denied`, `config-invalid`, `interrupted`: asking again would not help
 */
export async function lookAtRestored(access: ClusterAccess, clusterId: bigint, signal: AbortSignal): Promise<Look> {
  const credentials = credentialsOf(access);
  const notes: string[] = [];
  const first = await askAll(access, credentials.endpoints, clusterId, signal);
  const asked = new Set(credentials.endpoints.map(({ url }) => url));
  const reached = new Set(first.seen.map(({ status }) => status.memberId));
  const listed = first.seen.flatMap((one) => (one.status.clusterId === clusterId ? (one.listed ?? []) : []));
  const more = new Map<string, Endpoint>();
  for (const member of access.discover ? listed.filter(({ id }) => !reached.has(id)) : []) {
    for (const url of member.clientUrls) {
      const found = dialable(credentials, url);
      if (typeof found === 'string') notes.push(`${url}, which ${member.name || hex(member.id)} advertises, is not asked: ${found}`);
      else if (!asked.has(found.url)) more.set(found.url, found);
    }
  }
  const second = await askAll(access, [...more.values()], clusterId, signal);
  return { seen: onePerMember([...first.seen, ...second.seen]), silent: [...first.silent, ...second.silent], notes: [...new Set(notes)] };
}

async function askAll(
  access: ClusterAccess,
  endpoints: readonly Endpoint[],
  clusterId: bigint,
  signal: AbortSignal,
): Promise<Pick<Look, 'seen' | 'silent'>> {
  const answers = await Promise.all(endpoints.map((endpoint) => ask(access, endpoint.url, clusterId, signal)));
  return {
    seen: answers.flatMap((each) => ('status' in each ? [each] : [])),
    silent: answers.flatMap((each) => ('error' in each ? [each] : [])),
  };
}

async function ask(
  access: ClusterAccess,
  endpoint: string,
  clusterId: bigint,
  signal: AbortSignal,
): Promise<Seen | Look['silent'][number]> {
  const client = new MemberClient(access, endpoint);
  try {
    const status = await client.status(signal);
    // Of a stranger it is enough to know that it is one; a login there would send the password to it.
    if (status.clusterId !== clusterId) return { status, listed: undefined, failures: [] };
    const failures: string[] = [];
    const tried = async <T>(asking: Promise<T>): Promise<T | undefined> => {
      try {
        return await asking;
      } catch (thrown) {
        passOn(thrown, signal);
        failures.push(asError(thrown).message);
        return undefined;
      }
    };
    const [list] = await Promise.all([
      tried(client.memberList({ signal })),
      // A learner answers neither; that it is one is reason enough.
      tried(client.linearizableRead(signal)),
    ]);
    return { status, listed: list?.members, failures };
  } catch (thrown) {
    passOn(thrown, signal);
    return { endpoint, error: asError(thrown) };
  } finally {
    client.close();
  }
}

/** Throws on what asking again would not mend; returns for all else. */
export function passOn(thrown: unknown, signal: AbortSignal): void {
  if (signal.aborted) throw thrown;
  if (thrown instanceof WardenError && HOPELESS.has(thrown.code)) {
    const hint = thrown.hint ?? 'users and passwords are those that the cluster had at the time of the backup';
    throw new WardenError(thrown.code, thrown.message, { hint, cause: thrown });
  }
}

function dialable(credentials: ReturnType<typeof credentialsOf>, url: string): Endpoint | string {
  try {
    const endpoint = credentials.parse(url);
    return whyNotDial(endpoint, credentials.endpoints) ?? endpoint;
  } catch (error) {
    return asError(error).message;
  }
}

/** A member may be reached by several addresses; the same member of two clusters is two. */
function onePerMember(seen: readonly Seen[]): Seen[] {
  return [...new Map(seen.toReversed().map((each) => [`${each.status.clusterId}/${each.status.memberId}`, each])).values()].toReversed();
}
