/** A process of its own that takes the lock, says so, and holds it until it is killed. Run by coordination.test.ts: ENDPOINT TTL_SECONDS. */
import { openCoordination } from '../../../src/etcd/coordination.ts';

const [endpoint = '', ttl = '3'] = process.argv.slice(2);
const coordination = openCoordination(
  { name: 'test', endpoints: [endpoint], requestTimeoutMs: 5_000, dialTimeoutMs: 2_000, streamIdleTimeoutMs: 5_000, discover: false },
  { keyPrefix: '/etcd-warden', lockTtlSeconds: Number(ttl) },
);
const result = await coordination.lock('holding on');
process.stdout.write(`${result.outcome}\n`);
setInterval(() => {}, 60_000);
