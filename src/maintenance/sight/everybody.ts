/** Who belongs to a cluster: everybody in the member list whether it answers or not, and whoever answers without being in it. Pure. */
import { WardenError } from '../../errors.ts';
import { hex } from '../../etcd/ids.ts';
import type { ClusterView, ListedMember, MemberStatus } from '../../etcd/types.ts';

export interface Somebody {
  readonly id: string;
  readonly name: string;
  readonly voter: boolean;
  readonly status: MemberStatus | undefined;
  /** Where it was asked; undefined when it was not. */
  readonly address: string | undefined;
  /** Why there is no status. */
  readonly error: string | undefined;
  /** It took the connection, and did not answer in time. */
  readonly silent: boolean;
}

type Silent = Extract<ClusterView['members'][number], { readonly reachable: false }>;

export function everybody(view: ClusterView): Somebody[] {
  const answered = view.members.flatMap((one) => (one.reachable && one.status.clusterId === view.clusterId ? [one.status] : []));
  const silent = view.members.filter((one) => !one.reachable);
  const { listed } = view;
  const strangers = answered.filter((status) => !listed?.some((member) => member.id === status.memberId));
  return [
    ...(listed ?? []).map((member) => fromList(member, answered, silent)),
    ...strangers.map((status) => fromStatus(status, status.role !== 'learner')),
    // Without a list nobody knows who they are, or whether they vote; that they are silent must not be forgotten.
    ...(listed === undefined ? silent.map(fromSilence) : []),
  ];
}

function fromList(member: ListedMember, answered: readonly MemberStatus[], silent: readonly Silent[]): Somebody {
  const status = answered.find((one) => one.memberId === member.id);
  // The list is the leader's; the member itself may not have applied its promotion yet.
  if (status !== undefined) return fromStatus(status, !member.learner);
  const id = hex(member.id);
  const asked = silent.find((one) => isAt(one, member));
  const error =
    member.name === '' ? 'it was added, but has never been started' : (asked?.error.message ?? 'none of its addresses leads to it');
  return {
    id,
    name: member.name || id,
    voter: !member.learner,
    status: undefined,
    address: asked?.endpoint,
    error,
    silent: isSilence(asked?.error),
  };
}

function isAt(view: Silent, member: ListedMember): boolean {
  if (view.name !== undefined && view.name === member.name) return true;
  return member.clientUrls.some((url) => url.replace(/\/$/, '') === view.endpoint);
}

function fromStatus(status: MemberStatus, voter: boolean): Somebody {
  const id = hex(status.memberId);
  return { id, name: status.name || id, voter, status, address: status.endpoint, error: undefined, silent: false };
}

function fromSilence(view: Silent): Somebody {
  const { endpoint, name, error } = view;
  return {
    id: endpoint,
    name: name ?? endpoint,
    voter: true,
    status: undefined,
    address: endpoint,
    error: error.message,
    silent: isSilence(error),
  };
}

/** To whom no connection comes about is told as `unreachable`. */
function isSilence(error: Error | undefined): boolean {
  return error instanceof WardenError && error.code === 'timeout';
}
