import { PassThrough } from 'node:stream';
import type { ReadStream, WriteStream } from 'node:tty';
import { describe, expect, test } from 'vitest';
import { askAtTerminal } from './ask.ts';

function terminal(input: string, isTTY = true): { stdin: ReadStream; stderr: WriteStream; shown: () => string } {
  const stdin = new PassThrough();
  const stderr = new PassThrough();
  stdin.end(input);
  return {
    stdin: Object.assign(stdin, { isTTY }) as unknown as ReadStream,
    stderr: Object.assign(stderr, { isTTY: true }) as unknown as WriteStream,
    shown: () => String(stderr.read() ?? ''),
  };
}

describe('a question to the person at the terminal', () => {
  test.each(['y\n', 'yes\n', ' YES \n'])('%j is a yes', async (input) => {
    const person = terminal(input);
    expect(await askAtTerminal(new AbortController().signal, person)!('put them?')).toBe(true);
    expect(person.shown()).toContain('put them? [y/N] ');
  });

  test.each(['\n', 'n\n', 'yess\n', 'sure\n', ''])('%j is a no', async (input) => {
    expect(await askAtTerminal(new AbortController().signal, terminal(input))!('put them?')).toBe(false);
  });

  test('nobody is asked where nobody could answer', () => {
    expect(askAtTerminal(new AbortController().signal, terminal('y\n', false))).toBeUndefined();
  });
});
