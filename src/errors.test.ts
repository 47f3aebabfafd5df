import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { asError, ERRORS, WardenError } from './errors.ts';

const DOCUMENT = new URL('../docs/errors.md', import.meta.url);

function documented(): string {
  const exits = [...new Set(Object.values(ERRORS).map(({ exit }) => exit))].sort((a, b) => a - b);
  const lines = [
    '# Errors and exit codes',
    '',
    'Generated from `src/errors.ts`; a test holds it current (`UPDATE_DOCS=1 npm run test:unit` writes it anew). Codes are stable.',
    '',
    '| exit code | |',
    '|---|---|',
    '| 0 | ok |',
    ...exits.map((exit) => `| ${exit} | ${EXITS[exit]} |`),
    '',
    '| code | exit code | meaning |',
    '|---|---|---|',
    ...Object.entries(ERRORS).map(([code, { exit, meaning }]) => `| \`${code}\` | ${exit} | ${meaning} |`),
    '',
  ];
  return lines.join('\n');
}

/** One name for each exit code; design and scripts rely on these numbers. */
const EXITS: Readonly<Record<number, string>> = {
  1: 'failed',
  2: 'wrong command line or configuration; nothing was started',
  3: 'partial: done on some stores only',
  10: 'nothing found',
  11: 'locked by another process',
  12: 'an identity is missing or wrong',
  13: 'verification failed, or the backup is suspect',
  14: 'unsafe: refused',
  130: 'interrupted',
};

describe('errors', () => {
  test('the document lists every code with its exit code', () => {
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOCUMENT, documented());
    expect(readFileSync(DOCUMENT, 'utf8')).toBe(documented());
  });

  test('every exit code is one of the documented ones', () => {
    for (const { exit } of Object.values(ERRORS)) expect(EXITS).toHaveProperty(String(exit));
  });

  test('an error carries code, sentence, hint, cause and exit code', () => {
    const cause = new Error('below');
    const error = new WardenError('refused', 'no', { hint: 'do', cause });
    expect(error).toMatchObject({ code: 'refused', message: 'no', hint: 'do', cause, exitCode: 14 });
  });

  test('whatever is thrown becomes an error', () => {
    expect(asError('text').message).toBe('text');
  });
});
