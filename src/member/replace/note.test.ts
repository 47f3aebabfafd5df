import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WardenError } from '../../errors.ts';
import { silentLogger } from '../../telemetry/logger.ts';
import { decodeNote, encodeNote, openNote, type NoteStore } from './note.ts';
import type { ReplaceNote } from './types.ts';

const NOTE: ReplaceNote = {
  name: 'm3',
  clusterId: 0xfedcba9876543210n,
  oldId: 0x8000000000000001n,
  peerUrls: ['http://p3:2380'],
  clientUrls: [],
  learner: false,
  since: '2026-11-23T00:00:00.000Z',
};
const { signal } = new AbortController();
let folder: string;
let keys: Map<string, string>;
let refusing: boolean;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warden-note-'));
  keys = new Map();
  refusing = false;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function store(member = 'm3', stateDir = folder): NoteStore {
  return openNote({
    keyPrefix: '/etcd-warden/',
    stateDir,
    cluster: 'main',
    member,
    logger: silentLogger,
    upkeep: {
      readKey: (key) => Promise.resolve(keys.get(key)),
      writeKey(key, value) {
        if (refusing) return Promise.reject(new WardenError('etcd-failed', 'etcdserver: corrupt cluster'));
        keys.set(key, value);
        return Promise.resolve();
      },
    },
  });
}

test('a note comes back as it was, with all 64 bits of its ids', () => {
  expect(decodeNote(encodeNote(NOTE))).toEqual(NOTE);
});

test.each([
  '',
  '{}',
  'null',
  '[]',
  encodeNote(NOTE).replace('m3', 'm3"'),
  encodeNote(NOTE).replace('fedc', 'xyz'),
  encodeNote(NOTE).replace('2026', 'x'),
  ' '.repeat(20_000),
])('what is no note is none: %#', (text) => {
  expect(decodeNote(text)).toBeUndefined();
});

test('it lies in etcd and in the state folder, and either is enough', async () => {
  expect(await store().read(signal)).toBeUndefined();
  expect(await store().write(NOTE, signal)).toEqual(['etcd', 'state']);
  expect([...keys.keys()]).toEqual(['/etcd-warden/replace/main']);
  expect(await store('m3', join(folder, 'other')).read(signal)).toEqual(NOTE);
  keys.clear();
  expect(await store().read(signal)).toEqual(NOTE);
});

test('while etcd refuses every put, the state folder has it', async () => {
  refusing = true;
  expect(await store().write(NOTE, signal)).toEqual(['state']);
  expect(await store().read(signal)).toEqual(NOTE);
  expect(await store('m2').read(signal)).toBeUndefined();
});

test('one about another member is not taken for this one, and the id will do for the name', async () => {
  await store().write(NOTE, signal);
  expect(await store('m2').read(signal)).toBeUndefined();
  expect(await store('8000000000000001').read(signal)).toEqual(NOTE);
});

test('cleared it is gone from both, and nothing is written where nothing was', async () => {
  await store().clear(signal);
  expect(keys.size).toBe(0);
  await store().write(NOTE, signal);
  await store().clear(signal);
  expect(await store().read(signal)).toBeUndefined();
  expect(existsSync(join(folder, 'replace')) && readdirSync(join(folder, 'replace'))).toEqual([]);
});
