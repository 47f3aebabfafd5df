import { expect, test } from 'vitest';
import { join } from 'node:path';
import { freePorts } from '../../support/ports.ts';
import { run } from '../../support/processes.ts';

test('a port is given once, whoever asks at the same moment, in this process and in others', async () => {
  const script = `
    import { freePorts } from '${join(import.meta.dirname, '../../support/ports.ts')}';
    process.stdout.write(JSON.stringify(await freePorts(1_000)) + '\\n');
    process.stdin.on('end', () => process.exit()).resume();
  `;
  // A quarter of all there are, in five handfuls: without a mark two of them would meet for certain.
  const given = await Promise.all([
    ...Array.from({ length: 3 }, () => freePorts(1_000)),
    ...Array.from({ length: 2 }, async () => JSON.parse(await run(process.execPath, ['--input-type=module', '-e', script])) as number[]),
  ]);
  expect(new Set(given.flat()).size).toBe(5_000);
});
