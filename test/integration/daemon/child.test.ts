import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { runInChild, type ChildOptions } from '../../../src/daemon/child.ts';
import type { JobRequest, ProgressEvent } from '../../../src/jobs/types.ts';
import { recordingLogger } from '../../support/daemon-fakes.ts';

const FIXTURE = fileURLToPath(new URL('./child-fixture.ts', import.meta.url));

const job = (cluster: string): JobRequest => ({ verb: 'sweep', request: { cluster } });

async function run(cluster: string, part: Partial<ChildOptions> = {}) {
  const { logger, lines } = recordingLogger();
  const progress: ProgressEvent[] = [];
  const result = await runInChild({
    job: job(cluster),
    configuration: '{}',
    logger,
    progress: (event) => progress.push(event),
    signal: new AbortController().signal,
    main: FIXTURE,
    ...part,
  }).then(
    (value) => ({ value, error: undefined }),
    (error: unknown) => ({ value: undefined, error: error as Error & { code: string; hint?: string } }),
  );
  return { ...result, lines, progress };
}

describe('a job in a child process', () => {
  test('reports progress, logs through the daemon and gives its result', async () => {
    const { value, lines, progress } = await run('works');
    expect(progress).toEqual([{ step: 'stream', bytes: 1 }]);
    expect(lines).toEqual([
      { level: 'info', message: 'streaming', fields: { bound: 1, revision: '12345678901234567890', password: '[redacted]' } },
    ]);
    expect(value).toMatchObject({ argv: [] });
  });

  test('gets an allow-listed environment; credentials come over IPC and are not in what /proc shows; systemd stays with the daemon', async () => {
    const environment = {
      PATH: process.env['PATH'],
      LANG: 'C',
      NOTIFY_SOCKET: '/run/x',
      WATCHDOG_USEC: '1',
      CREDENTIALS_DIRECTORY: '/run/credentials/x',
      ETCDCTL_PASSWORD: 'hunter2',
      AWS_SECRET_ACCESS_KEY: 'over-ipc',
      HTTPS_PROXY: 'http://user:over-ipc@proxy',
      NODE_OPTIONS: '--inspect',
    };
    const { value } = await run('works', { environment });
    const seen = (value as { environment: Record<string, string> }).environment;
    expect(
      Object.keys(seen)
        .filter((name) => name !== 'NODE_CHANNEL_FD' && name !== 'NODE_CHANNEL_SERIALIZATION_MODE')
        .sort(),
    ).toEqual(['AWS_SECRET_ACCESS_KEY', 'HTTPS_PROXY', 'LANG', 'PATH']);
  });

  test('the configuration arrives whole', async () => {
    const { value } = await run('works', { configuration: '{"clusters":{"works":{"password":"x"}}}' });
    expect((value as { config: unknown }).config).toEqual({ clusters: { works: { password: 'x' } } });
  });

  test('its error arrives with code, sentence and hint; a code that is not ours becomes `failed`', async () => {
    expect((await run('fails')).error).toMatchObject({ code: 'snapshot-cut', message: 'the stream broke off', hint: 'try again' });
    expect((await run('breaks')).error).toMatchObject({ code: 'failed', message: 'plain' });
  });

  test('a crash is a failed job that names the signal, the exit code or the error', async () => {
    expect((await run('killed')).error).toMatchObject({
      code: 'job-crashed',
      message: 'the sweep job of killed ended by SIGKILL without a result',
      hint: /out-of-memory killer/,
    });
    expect((await run('exits')).error).toMatchObject({ code: 'job-crashed', message: /exit code 7/ });
    expect((await run('throws-later')).error).toMatchObject({ code: 'job-crashed', message: /nobody caught this/ });
  });

  test('running out of memory ends the job, not the daemon, and is called by its name', async () => {
    process.execArgv.push('--max-old-space-size=40');
    try {
      expect((await run('out-of-memory')).error).toMatchObject({
        code: 'job-crashed',
        message: /SIGABRT|exit code 134|SIGTRAP/,
        hint: /out of memory/,
      });
    } finally {
      process.execArgv.pop();
    }
  });

  test('a job that gives no sign of life is ended', async () => {
    expect((await run('silent', { stallMs: 1000 })).error).toMatchObject({ code: 'job-stalled', message: /no sign of progress for 1 s/ });
  });

  test('told to stop, it cleans up and ends as interrupted', async () => {
    const stop = new AbortController();
    const { error, lines } = await run('stops', { signal: stop.signal, progress: () => stop.abort() });
    expect(error).toMatchObject({ code: 'interrupted' });
    expect(lines.map(({ message }) => message)).toEqual(['cleaning up']);
  });

  test('a job that does not stop is ended with SIGTERM, then SIGKILL', async () => {
    const stop = new AbortController();
    const begin = performance.now();
    const { error } = await run('stubborn', { signal: stop.signal, progress: () => stop.abort(), stopMs: () => 200 });
    expect(error).toMatchObject({ code: 'interrupted' });
    // It would go on for a minute.
    expect(performance.now() - begin).toBeLessThan(30_000);
  });

  test('a signal that is already aborted starts nothing', async () => {
    expect((await run('works', { signal: AbortSignal.abort() })).error).toMatchObject({ code: 'interrupted' });
  });

  test('handles that a library left open do not keep a finished job', async () => {
    expect((await run('lingers')).value).toBe('done');
  });

  test('messages of another version are passed over, and said', async () => {
    const { value, lines } = await run('babbles');
    expect(value).toBe('done');
    expect(lines.filter(({ message }) => message.includes('does not understand'))).toHaveLength(2);
  });

  test('a job whose daemon dies ends by itself, aborted', async () => {
    const child: ChildProcess = fork(FIXTURE, [], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    child.send({ type: 'start', job: job('stops'), configuration: '{}', environment: {} });
    await once(child, 'message'); // progress: it runs
    child.disconnect();
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    expect({ code, signal }).not.toEqual({ code: 0, signal: null });
  });
});
