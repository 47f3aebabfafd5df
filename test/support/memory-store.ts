import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { WardenError } from '../../src/errors.ts';
import type { DeleteResult, ObjectInfo, Store, StoredObject, SweepReport } from '../../src/store/types.ts';

export type StoreVerb = 'check' | 'put' | 'upload' | 'get' | 'stream' | 'head' | 'list' | 'delete' | 'sweep';

/** A store in memory: for unit tests of everything that sits on stores. It keeps the contract of src/store/types.ts and can be told to fail. */
export interface MemoryStore extends Store {
  readonly objects: Map<string, { readonly body: Buffer; readonly modified: Date }>;
  /** Every call in order, such as `put prod/x.json`. */
  readonly calls: string[];
  /** When objects are written; tests move it. */
  now: Date;
  /** Makes each call of this verb whose key (or prefix) contains `part` fail with `error`. */
  fail(verb: StoreVerb, error: Error, part?: string): void;
  /** Ends all failures. */
  heal(): void;
  /** Deletes of this key are denied, as an object lock does. */
  lock(key: string, until?: Date): void;
  /** What the next sweep reports as removed. */
  leftovers: SweepReport['removed'];
}

export function memoryStore(name: string, now = new Date('2026-11-22T12:00:00.000Z')): MemoryStore {
  const objects: MemoryStore['objects'] = new Map();
  const locks = new Map<string, Date | undefined>();
  const calls: string[] = [];
  let failures: { verb: StoreVerb; error: Error; part: string }[] = [];

  function enter(verb: StoreVerb, key: string, signal: AbortSignal): void {
    signal.throwIfAborted();
    calls.push(`${verb} ${key}`);
    const failure = failures.find((each) => each.verb === verb && key.includes(each.part));
    if (failure !== undefined) throw failure.error;
  }

  function existing(key: string): { readonly body: Buffer; readonly modified: Date } {
    const object = objects.get(key);
    if (object === undefined) throw new WardenError('object-missing', `${key} is not in the store ${name}`);
    return object;
  }

  function write(key: string, body: Buffer): StoredObject {
    if (objects.has(key)) throw new WardenError('object-exists', `${key} is already in the store ${name}`);
    objects.set(key, { body: Buffer.from(body), modified: store.now });
    return { key, size: body.length, crc32: hex(body), confirmed: 'checksum' };
  }

  const store: MemoryStore = {
    name,
    kind: 'local',
    location: `memory:${name}`,
    spoolFolder: undefined,
    objects,
    calls,
    now,
    leftovers: [],
    fail: (verb, error, part = '') => void failures.push({ verb, error, part }),
    heal: () => void (failures = []),
    lock: (key, until) => void locks.set(key, until),

    async check(neededBytes, { signal }) {
      enter('check', String(neededBytes), signal);
    },
    async put(key, body, { signal }) {
      enter('put', key, signal);
      return write(key, body);
    },
    async upload(key, source, { signal, accepted, onProgress }) {
      enter('upload', key, signal);
      const figures = await source.finished;
      const body = (await readFile(source.path, { signal })).subarray(0, figures.length);
      if (createHash('sha256').update(body).digest('hex') !== figures.sha256) {
        throw new WardenError('verification-failed', `the spool ${source.path} does not hold what was announced`);
      }
      onProgress?.(body.length);
      await accepted;
      signal.throwIfAborted();
      return write(key, body);
    },
    async get(key, { signal, range, maxLength }) {
      enter('get', key, signal);
      const { body } = existing(key);
      const part = range === undefined ? body : body.subarray(range.offset, range.offset + range.length);
      if (maxLength !== undefined && part.length > maxLength) {
        throw new WardenError('failed', `${key} has ${part.length} bytes, at most ${maxLength} were expected`);
      }
      return Buffer.from(part);
    },
    async *stream(key, { signal, range }) {
      enter('stream', key, signal);
      const { body } = existing(key);
      const part = range === undefined ? body : body.subarray(range.offset, range.offset + range.length);
      for (let at = 0; at < part.length; at += 65_536) {
        signal.throwIfAborted();
        yield Buffer.from(part.subarray(at, at + 65_536));
      }
    },
    async head(key, { signal }) {
      enter('head', key, signal);
      const object = objects.get(key);
      return object === undefined ? undefined : { key, size: object.body.length, modified: object.modified, crc32: hex(object.body) };
    },
    async *list(prefix, { signal, startAfter }): AsyncGenerator<ObjectInfo> {
      enter('list', prefix, signal);
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).sort(byUtf8);
      for (const key of keys) {
        signal.throwIfAborted();
        const object = objects.get(key);
        if (object === undefined || (startAfter !== undefined && byUtf8(key, startAfter) <= 0)) continue;
        yield { key, size: object.body.length, modified: object.modified };
      }
    },
    async delete(key, { signal }): Promise<DeleteResult> {
      enter('delete', key, signal);
      if (!objects.has(key)) return { outcome: 'absent' };
      if (locks.has(key)) return { outcome: 'kept', until: locks.get(key), reason: 'object lock' };
      objects.delete(key);
      return { outcome: 'deleted' };
    },
    async sweep({ signal }) {
      enter('sweep', '', signal);
      const removed = store.leftovers;
      store.leftovers = [];
      return { removed };
    },
    async close() {},
  };
  return store;
}

function byUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function hex(body: Buffer): string {
  return crc32(body).toString(16).padStart(8, '0');
}
