/**
 * Manifests and checks never change, so what was read once need not be fetched again: one file per store and cluster in the state folder. It may be
 * lost, truncated, or full of anything at any time: what does not check out is forgotten, and read from the store.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** An object as it was when it was read: a listing that shows another size or time asks for reading it anew. */
export interface CachedObject {
  readonly size: number;
  readonly modifiedMs: number;
  readonly body: Buffer;
}

export type CachedObjects = ReadonlyMap<string, CachedObject>;

export interface CatalogCache {
  /** Never rejects. */
  load(store: string, cluster: string): Promise<CachedObjects>;
  /** Replaces what was kept, so that removed backups leave nothing behind. Never rejects. */
  save(store: string, cluster: string, objects: CachedObjects): Promise<void>;
}

/** For one-shot commands and tests: remembers nothing. */
export const NO_CACHE: CatalogCache = {
  load: async () => new Map(),
  save: async () => {},
};

/** Goes up when the layout below changes; another version's file is not even parsed. */
const MAGIC = 'etcd-warden catalog cache 1';

/** A cache in `folder` (made when needed). Names of stores and clusters are safe as file names by their own rules. */
export function fileCache(folder: string): CatalogCache {
  const saved = new Map<string, string>();
  return {
    async load(store, cluster) {
      try {
        const [magic, digest, body] = splitLines(await readFile(join(folder, fileName(store, cluster)), 'utf8'));
        if (magic !== MAGIC || digest !== sha256(body)) return new Map();
        saved.set(fileName(store, cluster), digest);
        return parse(body);
      } catch {
        return new Map(); // absent, unreadable or of another shape: the store has it all
      }
    },
    async save(store, cluster, objects) {
      const name = fileName(store, cluster);
      const body = JSON.stringify(
        Array.from(objects, ([key, { size, modifiedMs, body }]) => [key, size, modifiedMs, body.toString('base64')]),
      );
      const digest = sha256(body);
      if (saved.get(name) === digest) return;
      const temporary = join(folder, `${name}.${process.pid}.tmp`);
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await writeFile(temporary, `${MAGIC}\n${digest}\n${body}`, { mode: 0o600 });
        // Not synced: after a power loss the digest finds a torn file.
        await rename(temporary, join(folder, name));
        saved.set(name, digest);
      } catch {
        // A full or read-only disk costs time at the next reading, nothing else.
        await rm(temporary, { force: true }).catch(() => undefined);
      }
    },
  };
}

function fileName(store: string, cluster: string): string {
  return `catalog.${store}.${cluster}`;
}

function splitLines(content: string): [string, string, string] {
  const first = content.indexOf('\n');
  const second = content.indexOf('\n', first + 1);
  return [content.slice(0, first), content.slice(first + 1, second), content.slice(second + 1)];
}

function parse(body: string): CachedObjects {
  const entries = JSON.parse(body) as readonly [string, number, number, string][];
  return new Map(entries.map(([key, size, modifiedMs, base64]) => [key, { size, modifiedMs, body: Buffer.from(base64, 'base64') }]));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
