import { describe, expect, test } from 'vitest';
import { recordedOutput } from '../../../test/support/recorded-output.ts';
import { ConfigError } from '../../config/problems.ts';
import { WardenError } from '../../errors.ts';
import { describeFailure, printFailure } from './failure.ts';

describe('failures', () => {
  test('people get a sentence and a hint on stderr, and stdout stays empty', () => {
    const output = recordedOutput();
    printFailure(describeFailure(new WardenError('locked', 'somebody has it', { hint: 'wait' })), output, false);
    expect(output).toMatchObject({ printed: [], said: ['error: somebody has it\nhint: wait'] });
  });

  test('fault 77: programs get one JSON document on stdout', () => {
    const output = recordedOutput();
    printFailure(describeFailure(new WardenError('locked', 'somebody has it', { hint: 'wait' })), output, true);
    expect(output.said).toEqual([]);
    expect(JSON.parse(output.printed.join(''))).toEqual({ error: { code: 'locked', message: 'somebody has it', hint: 'wait' } });
  });

  test('the cause is told where it says something new, and only once', () => {
    const cause = new Error('connect ECONNREFUSED');
    expect(describeFailure(new WardenError('unreachable', 'm1 does not answer', { cause })).text).toBe(
      'm1 does not answer (connect ECONNREFUSED)',
    );
    expect(describeFailure(new WardenError('unreachable', 'm1: connect ECONNREFUSED', { cause })).text).toBe('m1: connect ECONNREFUSED');
    const system = Object.assign(new Error("ENOENT: no such file or directory, statfs '/x'"), { code: 'ENOENT' });
    expect(describeFailure(new WardenError('disk-failed', 'cannot use /x: no such folder (ENOENT)', { cause: system })).text).toBe(
      'cannot use /x: no such folder (ENOENT)',
    );
    expect(describeFailure(new TypeError('fetch failed', { cause })).text).toBe('fetch failed (connect ECONNREFUSED)');
  });

  test('an error without a message is called by its code', () => {
    const error = Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' });
    expect(describeFailure(error)).toMatchObject({ exitCode: 1, text: 'ECONNREFUSED' });
  });

  test('what aborts from outside is an interruption', () => {
    expect(describeFailure(new DOMException('stop', 'AbortError')).exitCode).toBe(130);
  });

  test('fault 76: configuration problems come as a list for people and as data for programs', () => {
    const problems = [
      { path: 'a', origin: { kind: 'flag', name: 'a' }, expected: 'b', value: '"c"', suggestion: 'd' },
      { path: 'e', origin: { kind: 'environment', name: 'E' }, expected: 'f' },
    ] as const;
    const failure = describeFailure(new ConfigError(problems));
    expect(failure).toMatchObject({ exitCode: 2, json: { error: { code: 'config-invalid', problems } } });
    expect(failure.text.split('\n')).toHaveLength(4);
  });

  test('escape sequences of a message never reach the terminal', () => {
    expect(describeFailure(new Error('a\u001b[2Jb')).text).toBe('a\\x1b[2Jb');
  });

  test('whatever was thrown has an exit code and a sentence', () => {
    expect(describeFailure('text')).toMatchObject({ exitCode: 1, text: 'text' });
  });
});
