import { get } from 'node:http';
import { startProcess, until, type Running } from './processes.ts';
import { connect, type Rpc, type TlsFiles, type TokenSource } from './rpc.ts';
import { integer, messages, text, type Message } from './wire.ts';

/** What a member says of itself; ids as bigint. */
export interface Status {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly version: string;
  readonly dbSize: number;
  readonly dbSizeInUse: number;
  readonly leader: bigint;
  readonly raftTerm: bigint;
  readonly revision: bigint;
  readonly isLearner: boolean;
}

/** One etcd process of a test cluster, started again on the same ports and data by `restart`. */
export interface Member {
  readonly name: string;
  /** As clients are told; a proxy may be there. */
  readonly endpoint: string;
  /** Past any proxy. */
  readonly direct: string;
  readonly peer: string;
  /** Plain http whatever the TLS settings: /metrics and /health. */
  readonly metrics: string;
  readonly dataDir: string;
  /** Of the process that runs now. */
  readonly pid: number;
  /** Calls to exactly this member. */
  readonly rpc: Rpc;
  running(): boolean;
  output(): string;
  status(timeoutMs?: number): Promise<Status>;
  /** Sends the signal; with SIGKILL or SIGTERM resolves when the process is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Ends it as an administrator would. */
  stop(): Promise<void>;
  /** Starts it again after `kill` or `stop`; `flags` count from now on. With `wait: false` it does not wait for health (no quorum, alarms). */
  restart(options?: { flags?: readonly string[]; wait?: boolean }): Promise<void>;
  /** Freezes the process: its sockets accept connections and never answer. */
  pause(): void;
  resume(): void;
  /** A linearizable read succeeds through it; alarms are not held against it. */
  waitHealthy(timeoutMs?: number): Promise<void>;
}

export interface MemberSettings {
  readonly program: string;
  readonly name: string;
  /** What it advertises to clients and to other members. */
  readonly endpoint: string;
  readonly peer: string;
  /** Where it listens for them. */
  readonly listen: { readonly client: string; readonly peer: string };
  readonly metrics: string;
  readonly dataDir: string;
  readonly flags: readonly string[];
  readonly tls?: TlsFiles | undefined;
  /** Asked at each use, since authentication is switched on when the cluster runs. */
  readonly token: () => TokenSource | undefined;
}

/** Starts the process and returns at once. */
export function startMember(settings: MemberSettings): Member {
  const { name, endpoint, peer, listen, metrics, dataDir } = settings;
  let flags = settings.flags;
  let process = start();
  let rpc: { token: TokenSource | undefined; rpc: Rpc } | undefined;

  function start(): Running {
    return startProcess(settings.program, [
      `--name=${name}`,
      `--data-dir=${dataDir}`,
      `--listen-client-urls=${listen.client}`,
      `--advertise-client-urls=${endpoint}`,
      `--listen-peer-urls=${listen.peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--listen-metrics-urls=${metrics}`,
      '--logger=zap',
      ...flags,
    ]);
  }

  function currentRpc(): Rpc {
    const token = settings.token();
    if (rpc === undefined || rpc.token !== token) {
      rpc?.rpc.close();
      rpc = { token, rpc: connect(listen.client, { tls: settings.tls, token }) };
    }
    return rpc.rpc;
  }

  async function kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    process.kill(signal);
    // A frozen process takes no SIGTERM before it is thawed.
    if (signal === 'SIGTERM') process.kill('SIGCONT');
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await process.exited;
  }

  return {
    name,
    endpoint,
    direct: listen.client,
    peer,
    metrics,
    dataDir,
    get pid() {
      return process.pid;
    },
    get rpc() {
      return currentRpc();
    },
    running: () => process.result() === undefined,
    output: () => process.output(),
    status: async (timeoutMs) => readStatus(await currentRpc().call('etcdserverpb.Maintenance/Status', Buffer.alloc(0), { timeoutMs })),
    kill,
    stop: () => kill('SIGTERM'),
    async restart({ flags: newFlags, wait = true } = {}) {
      if (process.result() === undefined) await kill('SIGTERM');
      if (newFlags !== undefined) flags = newFlags;
      process = start();
      if (wait) await this.waitHealthy();
    },
    pause: () => process.kill('SIGSTOP'),
    resume: () => process.kill('SIGCONT'),
    async waitHealthy(timeoutMs = 60_000) {
      let answer = 'no answer';
      await until(
        async () => {
          if (process.result() !== undefined)
            throw new Error(`${name} ended with ${JSON.stringify(process.result())}:\n${process.output().slice(-4_000)}`);
          answer = await health(metrics);
          return /"health":\s*"true"/.test(answer);
        },
        () => `${name} is not healthy (${answer}):\n${process.output().slice(-4_000)}`,
        { timeoutMs },
      );
      await rpc?.rpc.ready(30_000);
    },
  };
}

function readStatus(reply: Message): Status {
  const header = messages(reply, 1)[0]!;
  return {
    clusterId: integer(header, 1),
    memberId: integer(header, 2),
    revision: integer(header, 3),
    version: text(reply, 2),
    dbSize: Number(integer(reply, 3)),
    leader: integer(reply, 4),
    raftTerm: integer(reply, 6),
    dbSizeInUse: Number(integer(reply, 9)),
    isLearner: integer(reply, 10) !== 0n,
  };
}

export interface AlarmRecord {
  readonly memberId: bigint;
  readonly type: 'NOSPACE' | 'CORRUPT';
}

export function readAlarms(reply: Message): AlarmRecord[] {
  return messages(reply, 2).map((alarm) => ({ memberId: integer(alarm, 1), type: integer(alarm, 2) === 2n ? 'CORRUPT' : 'NOSPACE' }));
}

function health(metrics: string): Promise<string> {
  return new Promise((resolve) => {
    const request = get(`${metrics}/health?exclude=NOSPACE&exclude=CORRUPT`, { agent: false, timeout: 5_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve(body));
      response.on('error', (error) => resolve(error.message));
    });
    request.on('timeout', () => request.destroy(new Error('no answer in 5 s')));
    request.on('error', (error) => resolve(error.message));
  });
}
