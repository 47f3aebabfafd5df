/** The scratch etcd: started on a restored data directory, on loopback, for nobody but us. */
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { asError, WardenError } from '../../errors.ts';
import { MemberClient } from '../../etcd/member.ts';
import type { ClusterAccess } from '../../etcd/types.ts';
import type { NewMember } from '../types.ts';
import { drillCertificate } from './certificate.ts';
import { PID_FILE } from './folder.ts';
import { startGuarded, type Guarded } from './guard.ts';
import type { EtcdProgram } from './program.ts';

export interface DrillServer {
  readonly access: ClusterAccess;
  /** Rejects when it ends, with the sentence that it ended with; never resolves. */
  readonly died: Promise<never>;
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly program: EtcdProgram;
  /** Of this drill: certificate, key and pid go there. */
  readonly folder: string;
  readonly dataDir: string;
  readonly member: NewMember;
  readonly databaseBytes: number;
  readonly signal: AbortSignal;
  /** Told now and then while it starts. */
  readonly alive: () => void;
}

/** A port is free until somebody takes it: between looking for one and listening on it that is a matter of luck. */
const PORTS_TRIED = 5;
const ASK_EVERY_MS = 100;
const DIAL_MS = 2_000;
/** While it starts a question may be lost: then it is asked again. */
const FIRST_ANSWER_MS = 10_000;
/** At the lowest priority on a busy machine an answer may take long; the deadline of the drill is what ends it. */
const REQUEST_MS = 60_000;
/** etcd's own limit by default is 2 GiB: a database that is larger starts, but refuses writes. */
const QUOTA_BYTES = 8 * 2 ** 30;

/**
 * Resolves when it answers a linearizable read.
 * @throws WardenError `verification-failed` when etcd ends by itself because of what it found; `disk-full`, `failed` when the machine is to blame; the signal's reason
 */
export async function startServer(options: ServerOptions): Promise<DrillServer> {
  const { certificate, key } = drillCertificate(new Date());
  await writeFile(join(options.folder, 'tls.pem'), certificate, { mode: 0o600 });
  await writeFile(join(options.folder, 'tls.key'), key, { mode: 0o600 });
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const etcd = await startGuarded(options.program.path, argumentsFor(options, port), join(options.folder, PID_FILE));
    const access = accessTo(options.folder, port);
    try {
      await untilItAnswers(etcd, access, options);
      return serverOf(etcd, access);
    } catch (error) {
      await etcd.end();
      if (attempt === PORTS_TRIED || !etcd.said().includes('address already in use')) throw error;
    }
  }
}

function serverOf(etcd: Guarded, access: ClusterAccess): DrillServer {
  let stopping = false;
  const died = etcd.ended.then((code) => {
    if (stopping) return new Promise<never>(() => {});
    throw ending(etcd, code);
  });
  died.catch(() => {}); // whoever waits hears of it
  return {
    access,
    died,
    async stop() {
      stopping = true;
      await etcd.end();
    },
  };
}

function argumentsFor({ program, folder, dataDir, member, databaseBytes }: ServerOptions, port: number): string[] {
  const [client, peer] = [`https://127.0.0.1:${port}`, member.peerUrls.join(',')];
  const [certificate, key] = [join(folder, 'tls.pem'), join(folder, 'tls.key')];
  return [
    `--name=${member.name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    // Nobody is to be heard there, so that any port will do.
    '--listen-peer-urls=https://127.0.0.1:0',
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=${member.name}=${peer}`,
    `--cert-file=${certificate}`,
    `--key-file=${key}`,
    `--trusted-ca-file=${certificate}`,
    '--client-cert-auth',
    `--peer-cert-file=${certificate}`,
    `--peer-key-file=${key}`,
    `--peer-trusted-ca-file=${certificate}`,
    '--peer-client-cert-auth',
    '--logger=zap',
    '--log-outputs=stderr',
    '--log-level=warn',
    `--quota-backend-bytes=${Math.max(QUOTA_BYTES, 2 * databaseBytes)}`,
    // Since 3.5. What is thrown away need not survive a power cut, and fsync of this etcd must not hold up that of another.
    ...(program.minor === '3.4' ? [] : ['--unsafe-no-fsync']),
  ];
}

function accessTo(folder: string, port: number): ClusterAccess {
  const certFile = join(folder, 'tls.pem');
  return {
    name: 'drill',
    endpoints: [`https://127.0.0.1:${port}`],
    tls: { caFile: certFile, certFile, keyFile: join(folder, 'tls.key') },
    requestTimeoutMs: REQUEST_MS,
    dialTimeoutMs: DIAL_MS,
    streamIdleTimeoutMs: REQUEST_MS,
    discover: false,
  };
}

async function untilItAnswers(etcd: Guarded, access: ClusterAccess, { signal, alive }: ServerOptions): Promise<void> {
  const client = new MemberClient({ ...access, requestTimeoutMs: FIRST_ANSWER_MS }, access.endpoints[0]!);
  try {
    for (;;) {
      signal.throwIfAborted();
      const code = etcd.code();
      if (code !== undefined) throw ending(etcd, code);
      try {
        await client.linearizableRead(signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        // Somebody else listens there, or our own etcd is about to find that out.
        if (asError(error) instanceof WardenError && etcd.said().includes('address already in use')) throw error;
      }
      alive();
      await delay(ASK_EVERY_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  } finally {
    client.close();
  }
}

/** Whose fault it is that etcd ended: what it said last decides, and only what speaks of the machine is not held against the backup. */
function ending(etcd: Guarded, code: number): WardenError {
  const last = lastWords(etcd.said());
  const said = last === undefined ? '' : `: ${last}`;
  if (/no space left on device|disk quota exceeded/i.test(etcd.said()))
    return new WardenError('disk-full', `the scratch etcd had no room left${said}`);
  if (code === 126 || code === 127) return new WardenError('failed', `the scratch etcd cannot be run${said}`);
  if (code > 128)
    return new WardenError('failed', `the scratch etcd was ended by signal ${code - 128}`, {
      hint: "perhaps the kernel's out-of-memory killer: etcd maps the whole database into memory",
    });
  if (
    /address already in use|too many open files|cannot allocate memory|permission denied|flag provided but not defined/i.test(etcd.said())
  )
    return new WardenError('failed', `the scratch etcd did not start${said}`);
  return new WardenError('verification-failed', `etcd does not run on what was restored (exit code ${code})${said}`);
}

/** Its last line of level error or worse: message and error alone, since other fields may hold keys. A panic is plain text. */
function lastWords(said: string): string | undefined {
  const lines = said.trim().split('\n');
  for (const line of lines.toReversed()) {
    const told = /"level":"(?:error|fatal|panic|dpanic)".*?"msg":("(?:[^"\\]|\\.)*")(?:.*?"error":("(?:[^"\\]|\\.)*"))?/.exec(line);
    if (told !== null) return [told[1], told[2]].flatMap((text) => (text === undefined ? [] : [String(JSON.parse(text))])).join(': ');
    if (/^(panic|fatal error): /.test(line)) return line.slice(0, 200);
  }
  return undefined;
}

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
