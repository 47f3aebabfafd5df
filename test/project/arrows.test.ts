import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { brokenArrows, cycles, impurities, importsOf, readSources, undeclared } from './import-graph.ts';

const ROOT = join(import.meta.dirname, '../..');
const sources = readSources(join(ROOT, 'src'));
const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };

describe('the import graph of src', () => {
  test('arrows between folders point downwards only', () => {
    expect(brokenArrows(sources)).toEqual([]);
  });

  test('pure folders touch no clock, disk or network', () => {
    expect(impurities(sources)).toEqual([]);
  });

  test('no ring of files imports itself', () => {
    expect(cycles(sources)).toEqual([]);
  });

  test('the program imports only what a production install has', () => {
    expect(undeclared(sources, Object.keys(dependencies))).toEqual([]);
  });
});

describe('the check of the import graph', () => {
  const file = (path: string, ...lines: string[]): { path: string; text: string } => ({ path, text: lines.join('\n') });

  test('sees imports in every form, and none in comments', () => {
    const text = file(
      'cli/a.ts',
      "import { x } from './b.ts';",
      'import {',
      '  type Y,',
      "} from '../jobs/c.ts';",
      "import type { Z } from '../store/d.ts';",
      "export { q } from '../archive/e.ts';",
      "import 'side-effect';",
      "const lazy = await import('./verbs/f.ts');",
      "// import { no } from './no.ts';",
      "/* import { no } from './no.ts'; */",
    );
    expect(importsOf(text)).toEqual(['cli/b.ts', 'jobs/c.ts', 'store/d.ts', 'archive/e.ts', 'side-effect', 'cli/verbs/f.ts']);
  });

  test('accepts a skip downwards and an import inside of a folder', () => {
    const good = [file('cli/a.ts', "import '../format/x.ts';", "import './b.ts';", "import '../config/c.ts';", "import '../errors.ts';")];
    expect(brokenArrows(good)).toEqual([]);
  });

  test.each([
    ['upwards', 'store/a.ts', '../jobs/x.ts'],
    ['sideways', 'format/a.ts', '../mvcc/x.ts'],
    ['from a pure folder to config', 'retention/a.ts', '../config/x.ts'],
    ['from a pure folder to a file that is not plain', 'format/a.ts', '../version.ts'],
    ['from a pure folder to the folder around it', 'maintenance/planner/a.ts', '../types.ts'],
    ['from a pure folder inside of another to a layer below', 'maintenance/planner/a.ts', '../../etcd/x.ts'],
    ['from config to telemetry', 'config/a.ts', '../telemetry/x.ts'],
    ['from config downwards', 'config/a.ts', '../store/x.ts'],
    ['from the root downwards', 'errors.ts', './store/x.ts'],
    ['to a folder without a place', 'cli/a.ts', '../utils/x.ts'],
    ['out of src', 'cli/a.ts', '../../tools/x.ts'],
  ])('refuses an arrow %s', (_, path, target) => {
    expect(brokenArrows([file(path, `import { x } from '${target}';`)])).toHaveLength(1);
  });

  test('refuses a clock and a disk in a pure folder, and spares the others', () => {
    const lines = ["import { readFile } from 'node:fs/promises';", 'export const now = Date.now();'];
    const files = ['boltdb/a.ts', 'maintenance/planner/a.ts', 'maintenance/a.ts', 'store/a.ts'].map((path) => file(path, ...lines));
    expect(impurities(files)).toHaveLength(4);
  });

  test('finds a ring of three files', () => {
    const ring = [file('a/x.ts', "import './y.ts';"), file('a/y.ts', "import './z.ts';"), file('a/z.ts', "import './x.ts';")];
    expect(cycles(ring)).toEqual(['a/x.ts -> a/y.ts -> a/z.ts -> a/x.ts']);
  });

  test('refuses a development dependency in the program', () => {
    expect(undeclared([file('cli/a.ts', "import fc from 'fast-check';", "import 'convict/x';")], ['convict'])).toHaveLength(1);
  });
});
