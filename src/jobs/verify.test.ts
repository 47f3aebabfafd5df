import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSealer } from '../archive/sealer.ts';
import { readCatalog } from '../catalog/read.ts';
import type { Config } from '../config/types.ts';
import type { Manifest } from '../format/types.ts';
import { silentLogger } from '../telemetry/logger.ts';
import { keyOfData, seedBackup } from '../../test/support/backups.ts';
import { memoryStore, type MemoryStore } from '../../test/support/memory-store.ts';
import { seeded } from '../../test/support/random.ts';
import { verifyCopy, type VerifyLine } from './verify.ts';

const { signal } = new AbortController();
const context = {
  config: { stateDir: tmpdir() } as Config,
  signal,
  logger: silentLogger,
  progress: () => {},
  now: () => new Date('2026-11-22T12:00:00.000Z'),
};
const plain = seeded(9).fill(Buffer.alloc(70_000));
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('fault 75: verifying an encrypted backup', () => {
  let folder = '';
  let identity = '';
  let stored: Buffer;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'verify-'));
    identity = await generateIdentity();
    const sealer = await createSealer({
      spoolPath: join(folder, 'spool'),
      maxPlainBytes: plain.length,
      recipients: [await identityToRecipient(identity)],
      signal,
    });
    await sealer.write(plain);
    await sealer.finish();
    stored = readFileSync(sealer.spool.path);
    await sealer.abort();
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A backup of these bytes; `damage` is done to them afterwards. */
  async function verify(
    identities: readonly string[] | undefined,
    damage?: (bytes: Buffer) => void,
  ): Promise<{ line: VerifyLine; store: MemoryStore }> {
    const store = memoryStore('local');
    const manifest: Manifest = seedBackup([store], {
      plain: { bytes: plain.length, sha256: sha256(plain), databaseSha256: 'b'.repeat(64) },
      stored: { bytes: stored.length, sha256: sha256(stored), crc32: '0123abcd', compression: 'zstd-seekable', encryption: 'age' },
    });
    const body = Buffer.from(stored);
    damage?.(body);
    store.objects.set(keyOfData(manifest), { body, modified: new Date(manifest.time) });
    const { backups } = await readCatalog([store], 'prod', { signal });
    return { line: await verifyCopy(backups[0]!, store, 'content', identities, context), store };
  }

  test('with the right identity it is opened', async () => {
    expect((await verify([identity])).line).toMatchObject({ level: 'content', outcome: 'ok' });
  });

  test('without any, the stored bytes are compared, and that is said', async () => {
    const { line } = await verify(undefined);
    expect(line).toMatchObject({ level: 'stored', outcome: 'ok', reason: expect.stringContaining('no identity is configured') });
    expect(line).not.toHaveProperty('code');
  });

  test('with a wrong one the stored bytes are compared, the key is named as the reason, and the check says no more than that', async () => {
    const { line, store } = await verify([await generateIdentity()]);
    expect(line).toMatchObject({
      level: 'stored',
      outcome: 'ok',
      code: 'key-missing',
      reason: expect.stringContaining('only the stored bytes'),
    });
    const check = [...store.objects].find(([key]) => key.includes('/checks/'))![1];
    expect(JSON.parse(check.body.toString())).toMatchObject({ kind: 'verify', level: 'stored', outcome: 'ok' });
  });

  test('a damaged header that looks like one for another key is damage, not a missing key', async () => {
    const { line } = await verify([identity], (bytes) => {
      const at = bytes.indexOf('X25519 ') + 10;
      bytes[at] = bytes[at] === 0x41 ? 0x42 : 0x41;
    });
    expect(line).toMatchObject({ outcome: 'failed', code: 'verification-failed' });
  });
});
