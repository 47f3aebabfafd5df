/**
 * One write in a process of its own, to be killed, or to run on a disk of its own. Its only argument is an {@link Order} as JSON;
 * it prints a {@link Report} as JSON, if it lives to do so.
 */
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { StoreConfig } from '../../../src/config/types.ts';
import { WardenError } from '../../../src/errors.ts';
import { openStore } from '../../../src/store/open.ts';
import { temporaryName } from '../../../src/store/temporary.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { seeded } from '../../support/random.ts';
import { wholeSpool } from './growing.ts';

export interface Order {
  /** Without its secrets, which cannot be written as JSON. */
  readonly store: StoreConfig;
  readonly accessKey?: string;
  readonly secretKey?: string;
  readonly how: 'check' | 'put' | 'upload';
  readonly key: string;
  readonly bytes: number;
  /** Folder of the spool; default: the store's own. */
  readonly spoolFolder?: string;
  /** Fills the disk first until only so many bytes are free. */
  readonly leaveFree?: number;
  readonly umask?: number;
}

export type Report = { readonly ok: true } | { readonly ok: false; readonly code: string; readonly message: string };

/** The content that an order of that length writes. */
export function contentOf(bytes: number): Buffer {
  return seeded(bytes).fill(Buffer.alloc(bytes));
}

if (import.meta.main) {
  process.stdout.write(JSON.stringify(await carryOutHere(JSON.parse(process.argv[2] ?? '') as Order)));
}

/** The same in the process that asks. */
export function carryOutHere(order: Order): Promise<Report> {
  return perform(order).then(
    (): Report => ({ ok: true }),
    (error: unknown): Report => ({ ok: false, code: error instanceof WardenError ? error.code : 'none', message: String(error) }),
  );
}

async function perform(order: Order): Promise<void> {
  if (order.umask !== undefined) process.umask(order.umask);
  const { signal } = new AbortController();
  const store = await openStore(configOf(order), { logger: silentLogger });
  if (order.how === 'check') {
    await store.check(order.bytes, { signal });
    return;
  }
  await store.check(0, { signal });
  const content = contentOf(order.bytes);
  const spoolPath = join(order.spoolFolder ?? store.spoolFolder ?? '/nowhere', temporaryName());
  const source = order.how === 'upload' ? wholeSpool(spoolPath, content) : undefined;
  if (order.leaveFree !== undefined && order.store.type === 'local') fillDisk(order.store.path, order.leaveFree);
  if (source === undefined) await store.put(order.key, content, { signal });
  else await store.upload(order.key, source, { signal });
  await store.close();
}

function configOf(order: Order): StoreConfig {
  if (order.store.type === 'local') return order.store;
  const { accessKey = '', secretKey = '' } = order;
  return {
    ...order.store,
    accessKeyId: { origin: 'test', read: () => accessKey },
    secretAccessKey: { origin: 'test', read: () => secretKey },
  };
}

function fillDisk(path: string, leave: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const { bavail, bsize } = statfsSync(path);
  // The ballast's own folder entry is not counted by tmpfs.
  writeFileSync(join(path, 'ballast'), Buffer.alloc(Math.max(0, bavail * bsize - leave)));
}
