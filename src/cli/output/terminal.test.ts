import { PassThrough, Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { endQuietlyOnClosedPipe, keepWorkingWithoutReader, terminalOutput } from './terminal.ts';

type Facts = { readonly isTTY?: boolean; readonly columns?: number };

function outputs(env: NodeJS.ProcessEnv, stdoutFacts: Facts, stderrFacts: Facts = stdoutFacts) {
  const stdout = Object.assign(new PassThrough(), stdoutFacts);
  const stderr = Object.assign(new PassThrough(), stderrFacts);
  const output = terminalOutput(env, { stdout, stderr } as unknown as Parameters<typeof terminalOutput>[1]);
  return { output, errors: (): string => String(stderr.read() ?? '') };
}

const terminal = { isTTY: true, columns: 97 };
const file = {};

describe('where output goes', () => {
  test('a terminal tells its width; a pipe has none', () => {
    expect(outputs({}, terminal).output.width).toBe(97);
    expect(outputs({}, file).output.width).toBe(Infinity);
  });

  test('a terminal that says 0 columns is taken for a usual one', () => {
    expect(outputs({}, { isTTY: true, columns: 0 }).output.width).toBe(80);
  });

  test('COLUMNS goes before both, unless it is nonsense', () => {
    expect(outputs({ COLUMNS: '40' }, file).output.width).toBe(40);
    expect(outputs({ COLUMNS: '-3' }, terminal).output.width).toBe(97);
  });

  test('colours depend on stderr, which is what is coloured: `2>log` gets none, `>file` keeps them', () => {
    expect(outputs({}, terminal, file).output.style('red', 'x')).toBe('x');
    expect(outputs({}, file, terminal).output.style('red', 'x')).toBe('\u001b[31mx\u001b[39m');
  });

  test('fault 77: NO_COLOR and a dumb terminal turn colours off, an empty NO_COLOR does not', () => {
    expect(outputs({ NO_COLOR: '1' }, terminal).output.style('red', 'x')).toBe('x');
    expect(outputs({ TERM: 'dumb' }, terminal).output.style('red', 'x')).toBe('x');
    expect(outputs({ NO_COLOR: '' }, terminal).output.style('red', 'x')).not.toBe('x');
  });

  test('a line is rewritten only on a terminal that can', () => {
    expect(outputs({}, file).output.live).toBeFalsy();
    expect(outputs({ TERM: 'dumb' }, terminal).output.live).toBe(false);
    const { output, errors } = outputs({}, terminal);
    output.rewrite('half');
    expect(errors()).toBe('\r\u001b[Khalf');
  });
});

/** A stream whose every write fails. */
function failing(code: string): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })), autoDestroy: false });
}

async function written(stdout: Writable, stderr: Writable): Promise<number[]> {
  const exits: number[] = [];
  endQuietlyOnClosedPipe((code) => exits.push(code), { stdout, stderr });
  stdout.write('x');
  stderr.write('y');
  await new Promise((resolve) => setImmediate(resolve));
  return exits;
}

// In this order: the last test changes the whole process, as the product does.
describe('a reader that goes away', () => {
  test('fault 77: ends a command quietly with the exit code of SIGPIPE', async () => {
    expect(await written(failing('EPIPE'), new PassThrough())).toEqual([141]);
  });

  test('of stderr alone changes nothing: the answer is still wanted', async () => {
    expect(await written(new PassThrough(), failing('EPIPE'))).toEqual([]);
  });

  test('a full disk below stdout is said, and is a failure', async () => {
    const stderr = new PassThrough();
    expect(await written(failing('ENOSPC'), stderr)).toEqual([1]);
    expect(String(stderr.read())).toContain('error: standard output: ENOSPC');
  });

  test('fault 77: does not end work that changes something', async () => {
    keepWorkingWithoutReader();
    expect(await written(failing('EPIPE'), failing('EPIPE'))).toEqual([]);
    expect(await written(failing('ENOSPC'), new PassThrough())).toEqual([]);
  });
});
