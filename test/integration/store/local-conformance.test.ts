import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { describeStore } from './conformance.ts';
import { openLocalStore } from '../../../src/store/local/store.ts';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

describeStore('local', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'store-')), 'backups');
  folders.push(path);
  return Promise.resolve({
    store: openLocalStore({ type: 'local', name: 'local', path }),
    leftovers: () => Promise.resolve(readdirSync(join(path, '.tmp'))),
  });
});
