/** Reads a member's whole snapshot with the product's own client and throws it away: the floor below which no backup can be. */
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

type MemberModule = typeof import('../src/etcd/member.ts');

const [endpoint] = process.argv.slice(2) as [string];
// Compiled, as the backup that it is compared with.
const { MemberClient } = (await import(pathToFileURL(join(import.meta.dirname, '../dist/etcd/member.js')).href)) as MemberModule;
const client = new MemberClient(
  { name: 'bench', endpoints: [endpoint], requestTimeoutMs: 10_000, dialTimeoutMs: 5_000, streamIdleTimeoutMs: 30_000, discover: false },
  endpoint,
);
let bytes = 0;
for await (const batch of client.snapshot()) for (const { blob } of batch) bytes += blob.length;
client.close();
console.log(bytes);
