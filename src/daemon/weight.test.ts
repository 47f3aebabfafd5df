import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

/** Imports the module in a process of its own. @returns the packages that were loaded for it */
function packagesOf(module: string): string[] {
  const script = `
    const { registerHooks } = await import('node:module');
    const loaded = new Set();
    registerHooks({ load(url, context, next) { loaded.add(url); return next(url, context); } });
    await import(${JSON.stringify(new URL(module, import.meta.url).href)});
    const names = [...loaded].flatMap((url) => /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1] ?? []);
    process.stdout.write(JSON.stringify([...new Set(names)].sort()), () => process.exit(0));`;
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
    }).toString(),
  ) as string[];
}

describe('the weight of a daemon', () => {
  test('waiting for its schedule it has loaded no client of etcd and none of S3: those come with the first need, most of them in jobs', () => {
    const packages = packagesOf('./run.ts');
    expect(packages).toContain('croner');
    expect(
      packages.filter((name) => /^(@aws-sdk|@smithy|etcd3|@grpc|@bufbuild|protobufjs|age-encryption|hash-wasm|convict|yaml)/.test(name)),
    ).toEqual([]);
  });

  test('a job loads what its verb needs when it knows the verb', () => {
    expect(packagesOf('./serve-job.ts')).toEqual([]);
  });
});
