/** What clients feel of a cluster while something is done to it: writes and lease renewals through every member, without a pause. */
import { setTimeout as delay } from 'node:timers/promises';
import { Client, credentials, Metadata, type ClientDuplexStream } from '@grpc/grpc-js';
import type { Cluster } from '../test/support/cluster.ts';
import type { Member } from '../test/support/member.ts';
import { decode, encode, integer, messages, type Message } from '../test/support/wire.ts';

/** Between two probes through the same member. */
const PAUSE_MS = 2;
/** A probe that is not answered does not hold back the next: what a move of the leader swallows is answered by nobody for 7 s. */
const PATIENCE_MS = 25;
/** Of one write; longer than any freeze that is measured, so that the probe itself ends nothing. */
const PROBE_TIMEOUT_MS = 60_000;
/** What is frozen comes back within this after the last answer. */
const AFTER_MS = 300;
const LEASE_ID = 0x5741n;
/** A client that knows all endpoints goes on to the next after this, and gives up after five of them, as etcdctl does after 5 s. */
const ATTEMPT_MS = 1_000;
const ATTEMPTS = 5;

/** Milliseconds, but for the counts. */
export interface Felt {
  /** No member accepted a write. */
  readonly write: number;
  /** No member renewed a lease. */
  readonly renewal: number;
  /** By name: this member accepted no write. What an API server feels that talks to its own member only. */
  readonly endpoints: ReadonlyMap<string, number>;
  /** The longest that a single write took, the unanswered ones included. */
  readonly slowestWrite: number;
  /** Writes of clients that know all endpoints and were refused or unanswered by one after the other. */
  readonly clientErrors: number;
  /** Single attempts of theirs that failed, or took longer than a second. */
  readonly failedAttempts: number;
  readonly clientWrites: number;
}

/** Grants the lease that the probes renew; once per cluster. */
export async function grantProbeLease(cluster: Cluster): Promise<void> {
  await cluster.members[0]!.rpc.call('etcdserverpb.Lease/LeaseGrant', encode([1, 3_600], [2, LEASE_ID]));
}

/** Runs it among the probes. `grantProbeLease` comes before. */
export async function feel<T>(cluster: Cluster, run: () => Promise<T>): Promise<{ felt: Felt; result: T }> {
  const stop = new AbortController();
  const writes = gapMeter();
  const renewals = gapMeter();
  const endpoints = new Map(cluster.members.map((member) => [member.name, gapMeter()]));
  const latencies = slowest();
  const counts = { clientErrors: 0, failedAttempts: 0, clientWrites: 0 };
  const probing = cluster.members.flatMap((member, index) => [
    write(member, stop.signal, latencies, () => {
      writes.note();
      endpoints.get(member.name)!.note();
    }),
    keepAlive(member.endpoint, stop.signal, () => renewals.note()),
    knowingAll(cluster.members, index, stop.signal, counts),
  ]);
  await delay(AFTER_MS);
  for (const meter of [writes, renewals, ...endpoints.values()]) meter.begin();
  latencies.begin();
  Object.assign(counts, { clientErrors: 0, failedAttempts: 0, clientWrites: 0 });
  try {
    const result = await run();
    await delay(AFTER_MS);
    const felt: Felt = {
      write: writes.longest(),
      renewal: renewals.longest(),
      endpoints: new Map([...endpoints].map(([name, meter]) => [name, meter.longest()])),
      slowestWrite: latencies.longest(),
      ...counts,
    };
    return { felt, result };
  } finally {
    stop.abort();
    await Promise.all(probing);
  }
}

interface GapMeter {
  begin(): void;
  note(): void;
  longest(): number;
}

/** The longest time between two notes, the one that lasts yet included. */
function gapMeter(): GapMeter {
  let last = performance.now();
  let longest = 0;
  return {
    begin() {
      last = performance.now();
      longest = 0;
    },
    note() {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    },
    longest: () => Math.max(longest, performance.now() - last),
  };
}

interface Slowest {
  begin(): void;
  /** @returns to be called at the answer */
  start(): () => void;
  longest(): number;
}

/** How long the longest of several things took that go on at the same time. */
function slowest(): Slowest {
  const open = new Set<{ readonly started: number }>();
  let longest = 0;
  return {
    begin: () => void (longest = 0),
    start() {
      const one = { started: performance.now() };
      open.add(one);
      return () => {
        open.delete(one);
        longest = Math.max(longest, performance.now() - one.started);
      };
    },
    longest: () => Math.max(longest, ...[...open].map(({ started }) => performance.now() - started)),
  };
}

/** Writes to one member; what it refuses is no write. */
async function write(member: Member, signal: AbortSignal, latencies: Slowest, accepted: () => void): Promise<void> {
  const put = encode([1, `/probe/${member.name}`], [2, 'x']);
  while (!signal.aborted) {
    const ended = latencies.start();
    const answer = member.rpc.call('etcdserverpb.KV/Put', put, { timeoutMs: PROBE_TIMEOUT_MS }).then(
      () => {
        ended();
        accepted();
      },
      () => ended(),
    );
    await Promise.race([answer, delay(PATIENCE_MS)]);
    await delay(PAUSE_MS);
  }
}

/** Renews over one stream, as clients do; a follower passes it on to the leader. A stream that ends is opened anew. */
async function keepAlive(endpoint: string, signal: AbortSignal, renewed: () => void): Promise<void> {
  const client = new Client(new URL(endpoint).host, credentials.createInsecure());
  const request = encode([1, LEASE_ID]);
  let stream: ClientDuplexStream<Buffer, Message> | undefined;
  let answered = (): void => {};
  function open(): ClientDuplexStream<Buffer, Message> {
    const opened = client.makeBidiStreamRequest('/etcdserverpb.Lease/LeaseKeepAlive', (bytes: Buffer) => bytes, decode, new Metadata());
    opened.on('data', (reply: Message) => {
      // Without a time to live it says that the lease is gone; without a header it is no answer.
      if (integer(reply, 3) > 0n && messages(reply, 1).length > 0) renewed();
      answered();
    });
    opened.on('error', () => {
      if (stream === opened) stream = undefined;
      answered();
    });
    return opened;
  }
  while (!signal.aborted) {
    const answer = new Promise<void>((resolve) => (answered = resolve));
    stream ??= open();
    stream.write(request);
    await Promise.race([answer, delay(PATIENCE_MS)]);
    await delay(PAUSE_MS);
  }
  stream?.cancel();
  client.close();
}

/** One client that is given all endpoints and goes on to the next when one fails. */
async function knowingAll(
  members: readonly Member[],
  first: number,
  signal: AbortSignal,
  counts: { clientErrors: number; failedAttempts: number; clientWrites: number },
): Promise<void> {
  const put = encode([1, `/client/${first}`], [2, 'x']);
  let use = first;
  while (!signal.aborted) {
    counts.clientWrites++;
    for (let attempt = 1; ; attempt++) {
      const accepted = await members[use % members.length]!.rpc.call('etcdserverpb.KV/Put', put, { timeoutMs: ATTEMPT_MS }).then(
        () => true,
        () => false,
      );
      if (accepted) break;
      counts.failedAttempts++;
      use++;
      if (attempt === ATTEMPTS) {
        counts.clientErrors++;
        break;
      }
    }
    await delay(PAUSE_MS);
  }
}
