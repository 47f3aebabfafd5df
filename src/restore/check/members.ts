/** What one look says about members, compared with the record: what cannot become right any more, and what may only be late. Pure. */
import { hex } from '../../etcd/ids.ts';
import type { ListedMember } from '../../etcd/types.ts';
import type { RestoreRecord } from '../../format/types.ts';
import type { Look, Seen } from './look.ts';

export interface Comparison {
  /** Waiting does not mend these. */
  readonly different: readonly string[];
  /** These may come right by themselves: a member that starts, an election. */
  readonly late: readonly string[];
  /** Members of the record that answer, by id in hex. */
  readonly present: ReadonlyMap<string, Seen>;
}

export function compareMembers(record: RestoreRecord, look: Look): Comparison {
  const different: string[] = [];
  const late: string[] = [];
  const present = new Map<string, Seen>();
  for (const each of look.seen) {
    const id = hex(each.status.memberId);
    const member = record.members.find((one) => one.id === id);
    if (hex(each.status.clusterId) !== record.clusterId)
      different.push(
        `${each.status.endpoint} belongs to cluster ${hex(each.status.clusterId)}, not to ${record.clusterId}, which this restore made`,
      );
    else if (member === undefined) different.push(`${each.status.endpoint} is member ${id}, which the record does not have`);
    else {
      present.set(id, each);
      different.push(...wrongAt(record, member.name, each));
      late.push(...lateAt(record, member.name, each));
    }
  }
  const unclear = look.silent.map(({ error }) => error.message);
  const missing = record.members.filter(({ id }) => !present.has(id));
  if (missing.length > 0) {
    const why = unclear.length === 0 ? 'none of the addresses leads there' : [...new Set(unclear)].join('; ');
    late.push(`${missing.map(({ name, id }) => `${name} (${id})`).join(', ')} did not answer: ${why}`);
  }
  const leaders = new Set([...present.values()].map(({ status }) => status.leader).filter((leader) => leader !== 0n));
  if (leaders.size > 1) late.push(`the members name ${leaders.size} leaders`);
  return { different: [...new Set(different)], late, present };
}

/** Where a member that answers is not what was recorded. */
function wrongAt(record: RestoreRecord, name: string, { status, listed }: Seen): string[] {
  const wrong: string[] = [];
  if (status.role === 'learner') wrong.push(`${name} is a learner; a restore makes voters only`);
  for (const { type, memberId } of status.alarms)
    wrong.push(`${type} is armed${memberId === 0n ? '' : ` for member ${nameOf(record, hex(memberId))}`}`);
  if (status.revision < BigInt(record.revision))
    wrong.push(`${name} is at revision ${status.revision}, below ${record.revision}, which was restored`);
  return listed === undefined ? wrong : [...wrong, ...wrongInList(record, name, listed)];
}

function wrongInList(record: RestoreRecord, teller: string, listed: readonly ListedMember[]): string[] {
  const wrong: string[] = [];
  for (const member of listed) {
    const id = hex(member.id);
    const recorded = record.members.find((one) => one.id === id);
    if (recorded === undefined) wrong.push(`${teller} lists a member ${member.name || id} that the record does not have`);
    else {
      // A name is empty until the member has been started; restored ones have it from the beginning.
      if (member.name !== recorded.name && member.name !== '') wrong.push(`member ${id} is called ${member.name}, not ${recorded.name}`);
      if (!sameUrls(member.peerUrls, recorded.peerUrls))
        wrong.push(`the peer URLs of ${recorded.name} are ${member.peerUrls.join(', ')}, not ${recorded.peerUrls.join(', ')}`);
      if (member.learner) wrong.push(`${recorded.name} is listed as a learner`);
    }
  }
  const lost = record.members.filter(({ id }) => !listed.some((member) => hex(member.id) === id));
  return [...wrong, ...lost.map(({ name }) => `${teller} does not list ${name}`)];
}

function lateAt(record: RestoreRecord, name: string, { status, listed, failures }: Seen): string[] {
  const late = failures.map((failure) => `${name}: ${failure}`);
  if (status.leader === 0n) late.push(`${name} knows no leader`);
  else if (!record.members.some(({ id }) => id === hex(status.leader)))
    late.push(`${name} follows ${hex(status.leader)}, which the record does not have`);
  // Published through raft once a member serves clients.
  const unpublished = (listed ?? []).filter((member) => member.clientUrls.length === 0 || member.name === '');
  late.push(...unpublished.map((member) => `${nameOf(record, hex(member.id))} has not told ${name} its client URLs yet`));
  return late;
}

function nameOf(record: RestoreRecord, id: string): string {
  return record.members.find((one) => one.id === id)?.name ?? id;
}

function sameUrls(a: readonly string[], b: readonly string[]): boolean {
  return a.toSorted().join(' ') === b.toSorted().join(' ');
}
