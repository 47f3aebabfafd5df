import { fstatSync, mkdtempSync, openSync, readFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { createLogger } from './pino.ts';

function collect(isTTY = false): { lines: string[]; stream: { write(line: string): void; isTTY: boolean } } {
  const lines: string[] = [];
  return { lines, stream: { isTTY, write: (line) => void lines.push(line) } };
}

describe('logger', () => {
  test('a daemon writes one JSON object a line, with time, level by name and the sentence', () => {
    const { lines, stream } = collect();
    const logger = createLogger({ level: 'info', format: 'auto', stream, environment: {} }).child({ cluster: 'prod' });
    logger.info({ bytes: 12, revision: 12345678901234567890n }, 'backup done');
    logger.debug({}, 'not shown');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      cluster: 'prod',
      bytes: 12,
      revision: '12345678901234567890',
      message: 'backup done',
    });
  });

  test('a field bound twice is written once, with its last value', () => {
    const { lines, stream } = collect();
    createLogger({ level: 'info', format: 'json', stream, environment: {} })
      .child({ cluster: 'a', job: 'backup' })
      .child({ cluster: 'b' })
      .info({}, 'x');
    expect(lines[0]!.match(/"cluster"/g)).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({ cluster: 'b', job: 'backup' });
  });

  test('an error is its code, sentence, hint and causes; never its stack or its other properties', () => {
    const { lines, stream } = collect();
    const cause = Object.assign(new Error('socket closed'), { code: 'ECONNRESET', config: { headers: { authorization: 'Bearer x' } } });
    const error = new WardenError('timeout', 'the stream stood still', { hint: 'look at the member', cause });
    createLogger({ level: 'info', format: 'json', stream, environment: {} }).error({ error }, 'backup failed');
    expect(JSON.parse(lines[0]!)).toMatchObject({
      error: {
        code: 'timeout',
        message: 'the stream stood still',
        hint: 'look at the member',
        cause: { code: 'ECONNRESET', message: 'socket closed' },
      },
    });
    expect(lines[0]).not.toMatch(/Bearer|stack/);
  });

  test('whatever is named like a secret is not written, at any depth', () => {
    const { lines, stream } = collect();
    const logger = createLogger({ level: 'info', format: 'json', stream, environment: {} });
    logger.info({ password: 'hunter2', auth: { etcdPassword: 'hunter2', list: [{ sessionToken: 'hunter2' }] }, user: 'root' }, 'x');
    expect(lines[0]).not.toContain('hunter2');
    expect(lines[0]).toContain('"user":"root"');
  });

  test('a terminal gets text, one line whatever the message holds, in colour unless NO_COLOR', () => {
    const plain = collect(true);
    createLogger({ level: 'info', format: 'auto', stream: plain.stream, environment: { NO_COLOR: '1' } }).warn(
      { cluster: 'prod', why: 'two words' },
      'x\n\u001b[2Jy',
    );
    expect(plain.lines[0]).toMatch(/^\d\d:\d\d:\d\d warn {2}x \[2Jy {2}cluster=prod why="two words"\n$/);
    const coloured = collect(true);
    createLogger({ level: 'info', format: 'auto', stream: coloured.stream, environment: {} }).info({}, 'x');
    expect(coloured.lines[0]).toContain('\u001b[36m');
  });

  test('lines for the journal carry their priority, and only when the stream really is the journal', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'journal-')), 'log');
    const fd = openSync(file, 'w');
    const { dev, ino } = fstatSync(fd);
    const stream = { fd, write: (line: string) => writeSync(fd, line) };
    const logger = createLogger({ level: 'debug', format: 'json', stream, environment: { JOURNAL_STREAM: `${dev}:${ino}` } });
    logger.debug({}, 'd');
    logger.info({}, 'i');
    logger.warn({}, 'w');
    logger.error({}, 'e');
    createLogger({ level: 'info', format: 'json', stream, environment: { JOURNAL_STREAM: '1:1' } }).info({}, 'elsewhere');
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => line.slice(0, 3))).toEqual(['<7>', '<6>', '<4>', '<3>', '{"l']);
  });

  test('a stream that refuses the line does not end the work', () => {
    const stream = {
      write: () => {
        throw new Error('EPIPE');
      },
    };
    expect(() => createLogger({ level: 'info', format: 'json', stream, environment: {} }).info({}, 'x')).not.toThrow();
  });
});
