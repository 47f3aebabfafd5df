import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { keyOfData } from '../../../test/support/backups.ts';
import { memoryStore, type MemoryStore } from '../../../test/support/memory-store.ts';
import { sealedSnapshot, seedSnapshot, type SealedSnapshot } from '../../../test/support/sealed-snapshot.ts';
import { readCatalog } from '../../catalog/read.ts';
import type { Backup } from '../../catalog/types.ts';
import type { Config } from '../../config/types.ts';
import { WardenError } from '../../errors.ts';
import type { Manifest } from '../../format/types.ts';
import type { DatabaseSink } from '../../restore/types.ts';
import { silentLogger } from '../../telemetry/logger.ts';
import type { ProgressEvent } from '../types.ts';
import { sourceOfBackup, sourceOfFile } from './source.ts';

const { signal } = new AbortController();
let folder = '';
let events: ProgressEvent[];
let snapshot: SealedSnapshot;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'restore-source-'));
  snapshot = await sealedSnapshot();
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => void (events = []));

const context = {
  config: {
    get stateDir() {
      return folder;
    },
  } as Config,
  signal,
  logger: silentLogger,
  progress: (event: ProgressEvent) => void events.push(event),
};

interface RecordingSink extends DatabaseSink {
  readonly bytes: () => Buffer;
  readonly restarts: () => number;
}

function sink(write?: () => void): RecordingSink {
  let blocks: Buffer[] = [];
  let restarts = 0;
  return {
    write: async (block) => {
      write?.();
      // What was given is only lent.
      blocks.push(Buffer.from(block));
      await Promise.resolve();
    },
    restart: () => {
      blocks = [];
      restarts += 1;
      return Promise.resolve();
    },
    bytes: () => Buffer.concat(blocks),
    restarts: () => restarts,
  };
}

function database(): Buffer {
  return snapshot.plain.subarray(0, -32);
}

async function seeded(...names: string[]): Promise<{ stores: MemoryStore[]; manifest: Manifest; backup: Backup }> {
  const stores = names.map((name) => memoryStore(name));
  const manifest = seedSnapshot(stores, snapshot);
  const { backups } = await readCatalog(stores, 'prod', { signal });
  return { stores, manifest, backup: backups[0]! };
}

function damage(store: MemoryStore, manifest: Manifest): void {
  const { body, modified } = store.objects.get(keyOfData(manifest))!;
  const bad = Buffer.from(body);
  bad[bad.length >> 1]! ^= 1;
  store.objects.set(keyOfData(manifest), { body: bad, modified });
}

describe('a backup', () => {
  test('comes as the plain database without its trailer, compared with the manifest', async () => {
    const { stores, backup, manifest } = await seeded('local');
    const source = sourceOfBackup(backup, stores, undefined, context);
    expect(source).toMatchObject({ name: manifest.id, identity: manifest.id, databaseBytes: database().length, encrypted: false });
    const into = sink();
    expect(await source.pour(into, signal)).toEqual({
      databaseBytes: database().length,
      databaseSha256: manifest.plain.databaseSha256,
      compared: true,
      store: 'local',
    });
    expect(into.bytes()).toEqual(database());
    await source.close();
  });

  test('a bad copy is passed over for the next store, and what came of it is forgotten', async () => {
    const { stores, backup, manifest } = await seeded('local', 'second');
    damage(stores[0]!, manifest);
    const into = sink();
    expect((await sourceOfBackup(backup, stores, undefined, context).pour(into, signal)).store).toBe('second');
    expect(into.bytes()).toEqual(database());
    expect(into.restarts()).toBe(1);
    expect(events.filter(({ finished }) => finished)).toEqual([
      expect.objectContaining({ step: 'read', message: expect.stringContaining(`reading ${manifest.id} from second instead`) }),
    ]);
  });

  test("with the members' proof the stored bytes are held against the manifest, without it the plain ones", async () => {
    const { stores, manifest, backup } = await seeded('local');
    const pour = (changed: Partial<Manifest>, proof = backup.proof): Promise<unknown> =>
      sourceOfBackup({ ...backup, proof, manifest: { ...manifest, ...changed } }, stores, undefined, context).pour(sink(), signal);
    const other = '0'.repeat(64);
    const [wrongStored, wrongPlain] = [{ stored: { ...manifest.stored, sha256: other } }, { plain: { ...manifest.plain, sha256: other } }];
    const refusal = (what: string): object => ({ code: 'verification-failed', message: expect.stringMatching(what) as string });
    await expect(pour(wrongStored)).rejects.toMatchObject(refusal(`^stored bytes of .*SHA-256 .*${other} was written`));
    await expect(pour({ plain: { ...manifest.plain, bytes: manifest.plain.bytes + 1 } })).rejects.toMatchObject(
      refusal('^content of .* were written'),
    );
    await expect(pour(wrongPlain)).resolves.toBeDefined();
    // Neither where nobody was asked, nor where the answer cannot be compared.
    const later = { ...backup.proof!, revision: String(BigInt(manifest.revision) + 1n) };
    await expect(pour(wrongPlain, later)).rejects.toMatchObject(refusal(`^content of .*SHA-256 .*${other} was written`));
    const unproved = { ...backup, proof: undefined, manifest: { ...manifest, ...wrongPlain } };
    await expect(sourceOfBackup(unproved, stores, undefined, context).pour(sink(), signal)).rejects.toMatchObject(refusal('^content of'));
    await expect(pour(wrongStored, later)).resolves.toBeDefined();
  });

  test('when every copy is bad, the last one says why; only the one store that was named counts', async () => {
    const { stores, backup, manifest } = await seeded('local', 'second');
    damage(stores[0]!, manifest);
    await expect(sourceOfBackup(backup, stores, undefined, context, { store: 'local' }).pour(sink(), signal)).rejects.toMatchObject({
      code: 'verification-failed',
    });
    stores[1]!.fail('stream', new WardenError('store-unavailable', 'no route'));
    await expect(sourceOfBackup(backup, stores, undefined, context).pour(sink(), signal)).rejects.toMatchObject({
      code: 'store-unavailable',
    });
    await expect(sourceOfBackup(backup, [], undefined, context).pour(sink(), signal)).rejects.toMatchObject({ code: 'nothing-found' });
  });

  test('a disk that is full is no fault of the copy', async () => {
    const { stores, backup } = await seeded('local', 'second');
    const full = new WardenError('disk-full', 'no room');
    const into = sink(() => {
      throw full;
    });
    await expect(sourceOfBackup(backup, stores, undefined, context).pour(into, signal)).rejects.toBe(full);
    const atOnce: DatabaseSink = {
      write: () => {
        throw full;
      },
      restart: () => Promise.reject(new Error('it must not be asked for')),
    };
    await expect(sourceOfBackup(backup, stores, undefined, context).pour(atOnce, signal)).rejects.toBe(full);
  });

  test('a copy that is longer than its manifest says gives no more than it should before it is refused', async () => {
    const { stores, backup } = await seeded('local');
    const shorter = { ...backup, manifest: { ...backup.manifest, plain: { ...backup.manifest.plain, bytes: 4096 + 32 } } };
    const into = sink();
    await expect(sourceOfBackup(shorter, stores, undefined, context).pour(into, signal)).rejects.toMatchObject({
      code: 'verification-failed',
    });
    expect(into.bytes()).toEqual(database().subarray(0, 4096));
  });

  test('who gives up is not kept waiting', async () => {
    const { stores, backup } = await seeded('local', 'second');
    await expect(sourceOfBackup(backup, stores, undefined, context).pour(sink(), AbortSignal.abort(new Error('enough')))).rejects.toThrow(
      'enough',
    );
  });

  test('fault 75: with a wrong key or none nothing is tried elsewhere', async () => {
    const identity = await generateIdentity();
    const stores = [memoryStore('local'), memoryStore('second')];
    seedSnapshot(stores, await sealedSnapshot({ recipients: [await identityToRecipient(identity)] }));
    const { backups } = await readCatalog(stores, 'prod', { signal });
    for (const identities of [undefined, [await generateIdentity()]]) {
      const source = sourceOfBackup(backups[0]!, stores, identities, context);
      expect(source.encrypted).toBe(true);
      await expect(source.pour(sink(), signal)).rejects.toMatchObject({ code: 'key-missing' });
    }
    expect(stores[1]!.calls.filter((call) => call.startsWith('stream'))).toEqual([]);
    const into = sink();
    await sourceOfBackup(backups[0]!, stores, [identity], context).pour(into, signal);
    expect(into.bytes()).toEqual(database());
  });
});

describe('a file', () => {
  function write(name: string, bytes: Buffer): string {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  }
  const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

  test('is named by the hash of its database, with a trailer, without one, or compressed', async () => {
    for (const [name, bytes, trailer] of [
      ['a.db', snapshot.plain, true],
      ['b.db', database(), false],
      ['c.db.zst', snapshot.stored, true],
    ] as const) {
      const source = await sourceOfFile(write(name, bytes), undefined, context);
      expect(source).toMatchObject({
        identity: sha256(database()),
        databaseBytes: database().length,
        trailer,
        kubernetes: false,
        backup: undefined,
      });
      const into = sink();
      expect(await source.pour(into, signal)).toMatchObject({ databaseSha256: sha256(database()), compared: trailer, store: undefined });
      expect(into.bytes()).toEqual(database());
      await source.close();
    }
  });

  test('that was damaged after it was written is found out, with and without a trailer', async () => {
    const torn = Buffer.from(snapshot.plain);
    torn[torn.length - 1]! ^= 1;
    const source = await sourceOfFile(write('torn.db', torn), undefined, context);
    await expect(source.pour(sink(), signal)).rejects.toMatchObject({ code: 'snapshot-hash-mismatch' });
    await source.close();
    const path = write('live.db', database());
    const live = await sourceOfFile(path, undefined, context);
    const changed = Buffer.from(database());
    changed[changed.length - 1]! ^= 1;
    writeFileSync(path, changed);
    await expect(live.pour(sink(), signal)).rejects.toMatchObject({ code: 'changed-meanwhile' });
    await live.close();
    await expect(sourceOfFile(write('cut.db', snapshot.plain.subarray(0, -7)), undefined, context)).rejects.toMatchObject({
      code: 'snapshot-wrong-length',
    });
  });
});
