import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadedWith, readSources } from './import-graph.ts';

const sources = readSources(join(import.meta.dirname, '../../src'));
/** Of every command that reads a local store without a configuration file. */
const COMMON = ['cli/main.ts', 'config/load.ts', 'store/open.ts', 'store/local/store.ts'];
/** Each takes longer to load than a command's own work: gRPC and its messages 200 ms, etcd3 as much again, YAML 60, undici, which comes with node:http, 70. */
const LARGE = /^(?:@|etcd3$|yaml$|pino$|age-encryption$|node:https?2?$|node:tls$)/;

describe('the start of a command', () => {
  test('loads commander and croner, and nothing else that is not our own', () => {
    const packages = [...loadedWith(sources, ['cli/main.ts'])].filter((name) => !name.startsWith('node:'));
    expect(packages.toSorted()).toEqual(['commander', 'croner']);
  });

  test.each(['list', 'show', 'restore', 'get', 'keys', 'verify', 'prune', 'export'])(
    '%s loads nothing large before it is needed',
    (verb) => {
      const loaded = [...loadedWith(sources, [...COMMON, `cli/verbs/${verb}.ts`])];
      expect(loaded.filter((name) => LARGE.test(name))).toEqual([]);
    },
  );

  test('undici is loaded by nobody but the SDK of S3', () => {
    const importing = sources.filter((file) => loadedWith([file], [file.path]).has('node:http')).map(({ path }) => path);
    expect(importing.filter((path) => !path.startsWith('store/s3/'))).toEqual([]);
  });
});

describe('what is loaded with a file', () => {
  const file = (path: string, ...lines: string[]): { path: string; text: string } => ({ path, text: lines.join('\n') });

  test('is what it imports as a value, over any number of files, and not what waits', () => {
    const files = [
      file(
        'a.ts',
        "import { b } from './b.ts';",
        "import type { C } from 'only-types';",
        "const late = await import('late');",
        "// import 'no';",
      ),
      file('b.ts', "export { c } from './c/c.ts';"),
      file('c/c.ts', 'import {', '  d,', "} from 'package';", "import { a } from '../a.ts';", "import 'node:fs';"),
    ];
    expect([...loadedWith(files, ['a.ts'])].toSorted()).toEqual(['node:fs', 'package']);
  });
});
