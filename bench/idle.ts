import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../test/support/processes.ts';
import { startDaemon } from '../test/support/run-warden.ts';
import { removeFolder, temporaryFolder } from '../test/support/watchdog.ts';
import { benchFolder, startWithDatabase } from './databases.ts';
import { childrenOf, processUsage, table, verdict } from './measure.ts';
import { EXECUTABLE } from './warden.ts';

const LIMITS = { rssMiB: 100, cpuPercent: 0.2 };
const MINUTE_MS = 60_000;

/** A daemon one minute after a backup: what it holds, and what it takes of a core in the minute after that. */
export async function benchIdle({ gib }: { gib: number }): Promise<boolean> {
  const work = temporaryFolder('bench', benchFolder());
  await using cluster = await startWithDatabase(gib);
  await using daemon = await startDaemon(
    {
      // One backup soon, and the next far away.
      clusters: {
        bench: { endpoints: [cluster.endpoints[0]], backup: { stores: ['disk'], schedule: dailyAt(new Date(Date.now() + 10_000)) } },
      },
      stores: { disk: { type: 'local', path: join(work, 'store') } },
    },
    { executable: EXECUTABLE },
  );
  await until(
    async () => (await daemon.get('/readyz')).status === 200,
    () => `no backup:\n${daemon.output()}`,
    { timeoutMs: 300_000, everyMs: 250 },
  );
  await delay(MINUTE_MS);
  const before = processUsage(daemon.pid)!;
  const children = childrenOf(daemon.pid);
  await delay(MINUTE_MS);
  const after = processUsage(daemon.pid)!;
  const cpuPercent = ((after.cpuSeconds - before.cpuSeconds) / (MINUTE_MS / 1000)) * 100;
  const rows = [
    ['RSS, MiB', verdict(before.rssMiB, LIMITS.rssMiB)],
    ['share of a core', verdict(cpuPercent, LIMITS.cpuPercent, ' %')],
    ['child processes', String(children.length)],
  ];
  console.log(table(['a minute after a backup', ''], rows));
  await daemon.stop();
  removeFolder(work);
  return before.rssMiB <= LIMITS.rssMiB && cpuPercent <= LIMITS.cpuPercent && children.length === 0;
}

/** A cron expression with seconds, in UTC. */
function dailyAt(time: Date): string {
  return `${time.getUTCSeconds()} ${time.getUTCMinutes()} ${time.getUTCHours()} * * *`;
}
