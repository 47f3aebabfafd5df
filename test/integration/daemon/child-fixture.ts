/** A job process for child.test.ts: the real side of the channel, with jobs that misbehave as their cluster's name says. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../../../src/config/types.ts';
import { serveJob } from '../../../src/daemon/serve-job.ts';
import { WardenError } from '../../../src/errors.ts';

serveJob({
  load: () =>
    Promise.resolve({
      unpackConfig: (packed: string) => JSON.parse(packed) as Config,
      async runJob(job, context) {
        switch (job.request.cluster) {
          case 'works':
            context.progress({ step: 'stream', bytes: 1 });
            context.logger.child({ bound: 1 }).info({ revision: 12345678901234567890n, password: 'hunter2' }, 'streaming');
            return { environment: process.env, argv: process.argv.slice(2), execArgv: process.execArgv, config: context.config };
          case 'fails':
            throw new WardenError('snapshot-cut', 'the stream broke off', { hint: 'try again' });
          case 'breaks':
            throw Object.assign(new Error('plain'), { code: 'ENOENT' });
          case 'throws-later':
            setTimeout(() => {
              throw new Error('fatal: nobody caught this');
            }, 10);
            return delay(60_000);
          case 'exits':
            return process.exit(7);
          case 'killed':
            process.kill(process.pid, 'SIGKILL');
            return delay(60_000);
          case 'out-of-memory': {
            const hoard: unknown[] = [];
            for (;;) hoard.push(Array.from({ length: 100_000 }, (_, i) => ({ i })));
          }
          case 'silent':
            return delay(60_000);
          case 'stops':
            context.progress({ step: 'stream' });
            await delay(60_000, undefined, { signal: context.signal }).catch(() => {});
            context.logger.info({}, 'cleaning up');
            context.signal.throwIfAborted();
            return undefined;
          case 'stubborn':
            process.removeAllListeners('SIGTERM').on('SIGTERM', () => {});
            context.progress({ step: 'stream' });
            return delay(60_000);
          case 'lingers':
            setInterval(() => {}, 1000);
            return 'done';
          case 'babbles':
            process.send?.({ type: 'news', x: 1 });
            process.send?.({ type: 'progress', event: { step: 5 } });
            return 'done';
          default:
            return undefined;
        }
      },
    }),
});
