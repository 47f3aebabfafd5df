import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CRASH_POINTS, MAINTENANCE_CRASH_POINTS, REPLACE_CRASH_POINTS, RESTORE_CRASH_POINTS } from './crash-points.ts';

function run(environment: Record<string, string>): NodeJS.Signals | number | null {
  const script = `import { crashPoint } from ${JSON.stringify(join(import.meta.dirname, 'crash-points.ts'))}; crashPoint('mid');`;
  const { signal, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { env: environment });
  return signal ?? status;
}

describe('crash points', () => {
  test('the process dies at the named place, and only when a test asks twice', () => {
    expect(run({ ETCD_WARDEN_CRASH_AT: 'mid', ETCD_WARDEN_TEST: '1' })).toBe('SIGKILL');
    expect(run({ ETCD_WARDEN_CRASH_AT: 'mid' })).toBe(0);
    expect(run({ ETCD_WARDEN_TEST: '1' })).toBe(0);
    expect(run({ ETCD_WARDEN_CRASH_AT: 'after-rename', ETCD_WARDEN_TEST: '1' })).toBe(0);
  });

  test('every name is called somewhere', () => {
    const sources = globSync('**/*.ts', { cwd: import.meta.dirname })
      .filter((name) => !name.endsWith('.test.ts') && name !== 'crash-points.ts')
      .map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'))
      .join('\n');
    const called = new Set(
      [...sources.matchAll(/crashPoint\(([^)]*)\)/g)].flatMap(([, argument = '']) =>
        [...argument.matchAll(/'([a-z-]+)'/g)].map(([, name]) => name),
      ),
    );
    expect([...called].sort((a, b) => String(a).localeCompare(String(b)))).toEqual(
      [...CRASH_POINTS, ...MAINTENANCE_CRASH_POINTS, ...RESTORE_CRASH_POINTS, ...REPLACE_CRASH_POINTS].sort((a, b) => a.localeCompare(b)),
    );
  });
});
