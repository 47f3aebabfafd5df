/** The process of one job. Forked by the daemon, never started by hand. */
import { serveJob } from './serve-job.ts';

serveJob({
  async load() {
    const [{ runJob }, { unpackConfig }] = await Promise.all([import('../jobs/run.ts'), import('../config/pack.ts')]);
    return { runJob, unpackConfig };
  },
});
