import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts, until } from './processes.ts';
import { guardProcess, removeFolder, temporaryFolder } from './watchdog.ts';

const EXECUTABLE = join(import.meta.dirname, '../../bin/etcd-warden');

export interface WardenOptions {
  /** Added to an environment that holds only PATH and a HOME of its own: nothing of the caller's shell counts. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string | Buffer;
  /** SIGKILL after this; 120 s by default. */
  readonly timeoutMs?: number;
  /** The executable; that of this checkout by default. */
  readonly executable?: string;
}

export interface WardenResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as one JSON document. */
  json<T = Record<string, unknown>>(): T;
}

export interface RunningWarden {
  readonly pid: number;
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  readonly done: Promise<WardenResult>;
}

/** Runs a command line to its end, whatever its exit code. */
export function runWarden(args: readonly string[], options: WardenOptions = {}): Promise<WardenResult> {
  return startWarden(args, options).done;
}

/** Starts a command line, to send it signals while it runs. */
export function startWarden(args: readonly string[], options: WardenOptions = {}): RunningWarden {
  const home = temporaryFolder('home');
  const child = spawn(process.execPath, [options.executable ?? EXECUTABLE, ...args], {
    cwd: options.cwd ?? home,
    env: { PATH: process.env['PATH'], HOME: home, XDG_CACHE_HOME: join(home, '.cache'), TZ: 'UTC', ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  guardProcess(child);
  const late = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 120_000);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A command that reads nothing may end before it was given everything.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input);
  const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString();

  async function finish(): Promise<WardenResult> {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    clearTimeout(late);
    removeFolder(home);
    const out = text(stdout);
    return {
      code,
      signal,
      stdout: out,
      stderr: text(stderr),
      json<T>() {
        try {
          return JSON.parse(out) as T;
        } catch (error) {
          throw new Error(`no JSON (exit code ${code ?? signal}):\n${out}\n${text(stderr)}`, { cause: error });
        }
      },
    };
  }
  return {
    pid: child.pid ?? 0,
    child,
    stdout: () => text(stdout),
    stderr: () => text(stderr),
    kill: (signal) => void child.kill(signal),
    done: finish(),
  };
}

export interface Daemon extends AsyncDisposable {
  readonly pid: number;
  /** Probes and metrics. */
  readonly url: string;
  readonly configFile: string;
  /** Its log so far, standard error included. */
  output(): string;
  /** Each line of its log that is JSON. */
  log(): Record<string, unknown>[];
  get(path: string): Promise<{ status: number; body: string }>;
  /** The sum of a metric's samples whose labels include these; undefined when there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number | undefined>;
  /** Writes another configuration and sends SIGHUP. */
  reload(config: WardenConfig): void;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, then its end. */
  stop(): Promise<WardenResult>;
  readonly done: Promise<WardenResult>;
}

/** As in the configuration file; a string is written as it is. */
export type WardenConfig = Readonly<Record<string, unknown>> | string;

/** Starts `etcd-warden run` and resolves when its probes answer. Listener and state folder are filled in where the configuration has none. */
export async function startDaemon(config: WardenConfig, options: WardenOptions & { args?: readonly string[] } = {}): Promise<Daemon> {
  const folder = temporaryFolder('daemon');
  const configFile = join(folder, 'config.yaml');
  const [port] = (await freePorts(1)) as [number];
  const listen = `127.0.0.1:${port}`;
  function write(wanted: WardenConfig): void {
    // JSON is YAML.
    writeFileSync(
      configFile,
      typeof wanted === 'string' ? wanted : JSON.stringify({ http: { listen }, stateDir: join(folder, 'state'), ...wanted }),
    );
  }
  write(config);
  const running = startWarden(['run', '--config', configFile, ...(options.args ?? [])], { timeoutMs: 600_000, ...options });
  let ended: WardenResult | undefined;
  const done = running.done.then((result) => {
    removeFolder(folder);
    return (ended = result);
  });
  const url = `http://${typeof config === 'object' ? ((config['http'] as { listen?: string } | undefined)?.listen ?? listen) : listenOf(config, listen)}`;

  async function get(path: string): Promise<{ status: number; body: string }> {
    const response = await fetch(url + path, { signal: AbortSignal.timeout(30_000) });
    return { status: response.status, body: await response.text() };
  }
  async function stop(): Promise<WardenResult> {
    running.kill('SIGTERM');
    return done;
  }
  const output = (): string => running.stdout() + running.stderr();

  try {
    await until(
      async () => {
        if (ended !== undefined) throw new Error(`the daemon ended with ${ended.code ?? ended.signal}:\n${output()}`);
        return get('/healthz').then(
          ({ status }) => status === 200,
          () => false,
        );
      },
      () => `the daemon does not answer at ${url}:\n${output()}`,
    );
  } catch (error) {
    running.kill('SIGKILL');
    await done;
    throw error;
  }
  return {
    pid: running.pid,
    url,
    configFile,
    output,
    log: () => output().split('\n').flatMap(jsonLine),
    get,
    metric: async (name, labels = {}) => sample((await get('/metrics')).body, name, labels),
    reload(changed) {
      write(changed);
      running.kill('SIGHUP');
    },
    kill: running.kill,
    stop,
    done,
    async [Symbol.asyncDispose]() {
      if (ended === undefined) running.kill('SIGKILL');
      await done;
    },
  };
}

/** The listener that a configuration of text names. */
function listenOf(config: string, fallback: string): string {
  return /^http:\s*\n\s+listen:\s*['"]?([^\s'"]+)/m.exec(config)?.[1] ?? fallback;
}

function jsonLine(line: string): Record<string, unknown>[] {
  if (!line.startsWith('{')) return [];
  try {
    return [JSON.parse(line) as Record<string, unknown>];
  } catch {
    // The last line may be half written.
    return [];
  }
}

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
function sample(exposition: string, name: string, labels: Readonly<Record<string, string>>): number | undefined {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const values = exposition
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .filter((line) => wanted.every((pair) => line.includes(pair)))
    .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0);
}
