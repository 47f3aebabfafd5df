import { generateIdentity, identityToRecipient } from 'age-encryption';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { keyOfData, keyOfManifest, seedCheck } from '../../test/support/backups.ts';
import type { ManifestFields } from '../../test/support/manifests.ts';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { seeded } from '../../test/support/random.ts';
import { sealedSnapshot, seedSnapshot, type SealedSnapshot } from '../../test/support/sealed-snapshot.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Config } from '../config/types.ts';
import { encodeManifest } from '../format/manifest.ts';
import { silentLogger } from '../telemetry/logger.ts';
import type { VerifyLevel } from './reread.ts';
import { verifyCopy, type VerifyLine } from './verify.ts';

const { signal } = new AbortController();
const context = {
  config: { stateDir: tmpdir() } as Config,
  signal,
  logger: silentLogger,
  progress: () => {},
  now: () => new Date('2026-11-22T12:00:00.000Z'),
};
const snapshot = await sealedSnapshot();

interface Story {
  readonly of?: SealedSnapshot;
  /** Done to the object after it was stored. */
  readonly damage?: (body: Buffer) => Buffer | void;
  readonly fields?: ManifestFields;
  readonly store?: MemoryStore;
  readonly identities?: readonly string[];
  readonly level?: VerifyLevel;
}

async function verify({
  of = snapshot,
  damage,
  fields = {},
  store = memoryStore('local'),
  identities,
  level = 'proved',
}: Story = {}): Promise<VerifyLine> {
  const manifest = seedSnapshot([store], of, fields);
  const key = keyOfData(manifest);
  const body = store.objects.get(key)!.body;
  const after = damage?.(body) ?? body;
  store.objects.set(key, { body: after, modified: new Date(manifest.time) });
  const { backups } = await readCatalog([store], 'prod', { signal });
  return verifyCopy(backups[0]!, store, level, identities, context);
}

describe('proving a stored backup again', () => {
  test('structure, records and the hash that a member gave agree', async () => {
    expect(await verify()).toMatchObject({ level: 'proved', outcome: 'ok', keyCount: snapshot.fields.keyCount });
    expect(await verify()).not.toHaveProperty('reason');
  });

  test('a member that answered something else is told with both numbers', async () => {
    const proof = { ...snapshot.fields.proof!, hash: 1 };
    const line = await verify({ fields: { proof } });
    expect(line).toMatchObject({ level: 'proved', outcome: 'failed', code: 'verification-failed' });
    expect(line.reason).toMatch(new RegExp(`HashKV of prod/.* is ${snapshot.fields.proof!.hash}, m2 answered 1$`));
  });

  test('without any member who answered it is content, with the reason', async () => {
    const unproved = { code: 'permission-denied', reason: 'the user lacks the role root' };
    expect(await verify({ fields: { proof: undefined, unproved } })).toMatchObject({
      level: 'content',
      outcome: 'ok',
      code: 'unproved',
      reason: expect.stringMatching(/^structure and records are sound, but .*: the user lacks the role root$/),
    });
  });

  test('bad input: a file of a newer schema is read and never called proved, whatever is recorded', async () => {
    const of = await sealedSnapshot({ storageVersion: '3.8.0' });
    const proof = { ...of.fields.proof!, hash: 1 };
    expect(await verify({ of, fields: { proof } })).toMatchObject({
      level: 'content',
      outcome: 'ok',
      code: 'newer-schema',
      reason: expect.stringMatching(/^its proof would be a guess: it was written by etcd 3\.8/),
    });
    expect(await verify({ of: await sealedSnapshot({ storageVersion: '3.7.0' }) })).toMatchObject({ level: 'proved', outcome: 'ok' });
  });

  test('an answer that was asked for later counts as well', async () => {
    const store = memoryStore('local');
    const { id } = seedSnapshot([store], snapshot, { proof: undefined });
    const check = { id, kind: 'verify', level: 'proved', outcome: 'ok' } as const;
    seedCheck([store], { ...check, proof: { ...snapshot.fields.proof!, hash: 2 } });
    expect(await verify({ store, fields: { proof: undefined } })).toMatchObject({ level: 'proved', outcome: 'failed' });
    seedCheck([store], { ...check, time: '2026-11-22T11:30:00.000Z', proof: snapshot.fields.proof! });
    expect(await verify({ store, fields: { proof: undefined } })).toMatchObject({ level: 'proved', outcome: 'ok' });
  });

  test('an answer for another revision cannot be compared, which is no fault of the copy', async () => {
    const proof = { ...snapshot.fields.proof!, revision: '1' };
    expect(await verify({ fields: { proof } })).toMatchObject({
      level: 'content',
      outcome: 'ok',
      code: 'unproved',
      reason: expect.stringContaining('at compact revision'),
    });
  });

  test.each<[string, ManifestFields, RegExp]>([
    ['another revision', { revision: '999', proof: undefined }, /holds revision \d+, its manifest says 999$/],
    ['another number of keys', { keyCount: 999 }, /holds \d+ keys, its manifest says 999$/],
  ])('a manifest that tells of %s is not the manifest of these data', async (_what, fields, reason) => {
    expect(await verify({ fields })).toMatchObject({
      outcome: 'failed',
      code: 'verification-failed',
      reason: expect.stringMatching(reason),
    });
  });

  test('fault 9: a damaged page is found although every SHA-256 is right, and named with its bucket', async () => {
    const of = await sealedSnapshot({ damage: (database) => void database.writeUInt32LE(0xffffff, 3 * 1024 + 16 + 8) });
    for (const level of ['stored', 'content'] as const) expect(await verify({ of, level })).toMatchObject({ outcome: 'ok', level });
    expect(await verify({ of })).toMatchObject({
      level: 'proved',
      outcome: 'failed',
      code: 'bolt-damaged',
      reason: expect.stringMatching(/page 3\b/),
    });
  });

  test('fault 9: any bit of a record that changed is found although every SHA-256 is right', async () => {
    const random = seeded(5);
    const { key, value } = snapshot.history.records.findLast((record) => record.value.length > 20)!;
    for (let round = 0; round < 12; round += 1) {
      const of = await sealedSnapshot({
        damage: (database) => {
          const at = database.indexOf(Buffer.concat([key, value])) + random.below(key.length + value.length);
          database[at]! ^= 1 << random.below(8);
        },
      });
      expect(await verify({ of })).toMatchObject({ level: 'proved', outcome: 'failed' });
    }
  });
});

describe('fault 36: an object that is not what was written', () => {
  const frameHeader = 3;
  const last = snapshot.stored.length - 1;
  const flip =
    (at: number) =>
    (body: Buffer): void => {
      body[at]! ^= 0x10;
    };

  test.each<[string, (body: Buffer) => Buffer | void]>([
    ['truncated by one byte', (body) => body.subarray(0, -1)],
    ['truncated to a half', (body) => body.subarray(0, body.length / 2)],
    ['truncated to nothing', (body) => body.subarray(0, 0)],
    ['with bytes after its end', (body) => Buffer.concat([body, Buffer.from('more')])],
    ['flipped in the header of a frame', flip(frameHeader)],
    ['flipped in the middle of a frame', flip(200)],
    ['flipped in the seek table', flip(last - 12)],
    ['flipped in the footer', flip(last)],
  ])('%s', async (_how, damage) => {
    for (const level of ['stored', 'content', 'proved'] as const) {
      const line = await verify({ damage, level });
      expect(line).toMatchObject({ outcome: 'failed', level });
      expect(line.reason).toBeTruthy();
    }
  });

  test('a frame that is damaged is named', async () => {
    expect((await verify({ damage: flip(200) })).reason).toMatch(/^frame 0 is damaged/);
  });

  test('replaced by an older version', async () => {
    const older = await sealedSnapshot({ seed: 4 });
    expect(await verify({ damage: () => Buffer.from(older.stored) })).toMatchObject({
      outcome: 'failed',
      reason: expect.stringMatching(/^stored bytes of prod\/.*: .* (was|were) written$/),
    });
  });

  test('missing', async () => {
    const store = memoryStore('local');
    const manifest = seedSnapshot([store], snapshot);
    store.objects.delete(keyOfData(manifest));
    const { backups } = await readCatalog([store], 'prod', { signal });
    expect(await verifyCopy(backups[0]!, store, 'proved', undefined, context)).toMatchObject({ outcome: 'failed', code: 'object-missing' });
  });

  test('the manifest of another backup', async () => {
    const store = memoryStore('local');
    const other = await sealedSnapshot({ seed: 4 });
    const manifest = seedSnapshot([store], snapshot);
    store.objects.set(keyOfManifest(manifest), {
      body: encodeManifest({ ...manifest, ...other.fields, revision: manifest.revision } as typeof manifest),
      modified: new Date(0),
    });
    const { backups } = await readCatalog([store], 'prod', { signal });
    expect(await verifyCopy(backups[0]!, store, 'proved', undefined, context)).toMatchObject({
      outcome: 'failed',
      code: 'verification-failed',
    });
  });

  test('a failure is recorded beside the backup and takes away its standing; a store that fails takes nothing', async () => {
    const store = memoryStore('local');
    expect(await verify({ store, damage: flip(200) })).toMatchObject({ outcome: 'failed' });
    const { backups } = await readCatalog([store], 'prod', { signal });
    expect(backups[0]).toMatchObject({ state: 'damaged', copies: [{ verified: false, check: { outcome: 'failed', level: 'content' } }] });
    const down = memoryStore('local');
    down.fail('stream', new Error('ECONNRESET'));
    expect(await verify({ store: down })).toMatchObject({ outcome: 'inconclusive', code: 'failed' });
    expect((await readCatalog([down], 'prod', { signal })).backups[0]).toMatchObject({ state: 'complete', copies: [{ verified: true }] });
  });
});

describe('a copy that was replaced', () => {
  const unproved = { code: 'lagging', reason: 'it lagged' };

  async function again(store: MemoryStore, hour: number): Promise<{ readonly line: VerifyLine; readonly state: string | undefined }> {
    const read = async () => (await readCatalog([store], 'prod', { signal })).backups[0]!;
    const now = (): Date => new Date(`2026-11-22T${hour}:00:00.000Z`);
    const line = await verifyCopy(await read(), store, 'proved', undefined, { ...context, now });
    return { line, state: (await read()).state };
  }

  test.each<[string, (store: MemoryStore, key: string) => void]>([
    ['lost', (store, key) => store.objects.delete(key)],
    ['flipped', (store, key) => void (store.objects.get(key)!.body[200]! ^= 0x10)],
  ])('%s before: it counts again when it is found sound, where no member has ever answered, too', async (_how, spoil) => {
    const store = memoryStore('local');
    const key = keyOfData(seedSnapshot([store], snapshot, { proof: undefined, unproved }));
    spoil(store, key);
    expect(await again(store, 13)).toMatchObject({ line: { outcome: 'failed', level: 'proved' }, state: 'damaged' });
    store.objects.set(key, { body: Buffer.from(snapshot.stored), modified: new Date() });
    expect(await again(store, 14)).toMatchObject({ line: { outcome: 'ok', level: 'content' }, state: 'complete' });
  });

  test('one that is damaged inside does not, by a look at its bytes', async () => {
    const of = await sealedSnapshot({ damage: (database) => void database.writeUInt32LE(0xffffff, 3 * 1024 + 16 + 8) });
    const store = memoryStore('local');
    const { id } = seedSnapshot([store], of, { proof: undefined, unproved });
    expect(await again(store, 13)).toMatchObject({ line: { outcome: 'failed' }, state: 'damaged' });
    seedCheck([store], { id, kind: 'verify', level: 'content', outcome: 'ok', time: '2026-11-22T15:00:00.000Z' });
    expect((await readCatalog([store], 'prod', { signal })).backups[0]).toMatchObject({ state: 'damaged' });
  });
});

describe('a store that changes under its reader', () => {
  /** Replaces the object as soon as it was read to its end. */
  function changing(replace: (body: Buffer) => Buffer | undefined): MemoryStore {
    const store = memoryStore('local');
    const { stream } = store;
    store.stream = async function* (key, options) {
      yield* stream.call(store, key, options);
      const next = replace(Buffer.from(store.objects.get(key)!.body));
      if (next === undefined) store.objects.delete(key);
      else store.objects.set(key, { body: next, modified: new Date(0) });
    };
    return store;
  }

  test.each<[string, (body: Buffer) => Buffer | undefined]>([
    ['by other bytes of the same length', (body) => body.fill(body[9]! ^ 1, 9, 10)],
    ['by a longer object', (body) => Buffer.concat([body, body])],
    ['by nothing', () => undefined],
  ])('%s: that is said, and nothing is held against what was written', async (_how, replace) => {
    expect(await verify({ store: changing(replace) })).toMatchObject({
      outcome: 'inconclusive',
      code: 'changed-meanwhile',
      reason: expect.stringContaining('was changed while it was read'),
    });
  });
});

describe('fault 75: proving an encrypted backup', () => {
  test('with the identity it is proved, without one the stored bytes are compared and never counted as more', async () => {
    const identity = await generateIdentity();
    const of = await sealedSnapshot({ recipients: [await identityToRecipient(identity)] });
    expect(await verify({ of, identities: [identity] })).toMatchObject({ level: 'proved', outcome: 'ok' });
    expect(await verify({ of })).toMatchObject({ level: 'stored', outcome: 'ok', reason: expect.stringContaining('no identity') });
    const cut = await verify({ of, identities: [identity], damage: (body) => body.subarray(0, -3) });
    expect(cut).toMatchObject({ level: 'proved', outcome: 'failed' });
    const flipped = await verify({ of, identities: [identity], damage: (body) => void (body[body.length - 40]! ^= 1) });
    expect(flipped).toMatchObject({ level: 'proved', outcome: 'failed' });
  });
});
