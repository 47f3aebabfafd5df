import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { recordedOutput } from '../../../test/support/recorded-output.ts';
import { describeProgress, progressLine } from './progress.ts';

const MIB = 2 ** 20;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('progress', () => {
  test('names the work, bytes done and in all, rate and time left', () => {
    const event = { step: 'stream', message: 'streaming from m1', bytes: 512 * MIB, totalBytes: 2048 * MIB };
    expect(describeProgress(event, 2000)).toBe('streaming from m1: 512 MiB of 2.00 GiB, 256 MiB/s, 6.0s left');
  });

  test('without a total there is no time left, and without bytes the time that a long step takes', () => {
    expect(describeProgress({ step: 'copy', subject: 's3', bytes: MIB }, 1000)).toBe('copy s3: 1.00 MiB, 1.00 MiB/s');
    expect(describeProgress({ step: 'choose', message: 'asking the members' }, 500)).toBe('asking the members');
    expect(describeProgress({ step: 'choose', message: 'asking the members' }, 12_000)).toBe('asking the members (12s)');
  });

  test('the first byte of all divides by nothing', () => {
    expect(describeProgress({ step: 'stream', message: 'streaming', bytes: 1, totalBytes: 9 }, 0)).toBe('streaming: 1 B of 9 B');
  });

  test('a terminal has one line that is rewritten at most ten times a second, and cleared at the end', () => {
    const output = recordedOutput({ live: true });
    const progress = progressLine(output, { quiet: false });
    for (let tenths = 0; tenths < 100; tenths++) {
      progress.update({ step: 'stream', message: 'streaming', bytes: tenths });
      vi.advanceTimersByTime(10);
    }
    expect(output.drawn.length).toBeGreaterThan(5);
    expect(output.drawn.length).toBeLessThanOrEqual(11);
    progress.end();
    expect(output.drawn.at(-1)).toBe('');
    expect(output.said).toEqual([]);
  });

  test('fault 77: the live line is cut to the terminal, because a wrapped line cannot be overwritten', () => {
    const output = recordedOutput({ live: true, errWidth: 40 });
    const progress = progressLine(output, { quiet: false });
    progress.update({ step: 'read', message: 'x'.repeat(100) });
    vi.advanceTimersByTime(1000);
    progress.end();
    expect(output.drawn[0]).toHaveLength(39);
  });

  test('what a step came to is a line that stays; elsewhere only of work that takes longer than 10 s', () => {
    const done = { step: 'defrag', message: 'm2 was defragmented in 4s', finished: true };
    const live = recordedOutput({ live: true });
    const watched = progressLine(live, { quiet: false });
    watched.update({ step: 'defrag', message: 'm2 is defragmented' });
    vi.advanceTimersByTime(1000);
    watched.update(done);
    expect(live.said).toEqual(['m2 was defragmented in 4s']);
    expect(live.drawn.at(-1)).toBe('');
    watched.end();
    const output = recordedOutput();
    const progress = progressLine(output, { quiet: false });
    progress.update(done);
    vi.advanceTimersByTime(20_000);
    expect(output.said).toEqual([]);
    progress.update(done);
    expect(output.said).toEqual(['m2 was defragmented in 4s']);
    progress.end();
    const quiet = recordedOutput({ live: true });
    progressLine(quiet, { quiet: true }).update(done);
    expect(quiet.said).toEqual([]);
  });

  test('fault 77: elsewhere a line every 10 s, also while nothing moves', () => {
    const output = recordedOutput();
    const progress = progressLine(output, { quiet: false });
    progress.update({ step: 'stream', message: 'streaming', bytes: 10 * MIB, totalBytes: 100 * MIB });
    vi.advanceTimersByTime(9_999);
    expect(output.said).toEqual([]);
    vi.advanceTimersByTime(20_001);
    expect(output.said).toEqual([
      'streaming: 10.0 MiB of 100 MiB, 1.00 MiB/s, 1m30s left',
      'streaming: 10.0 MiB of 100 MiB, 512 KiB/s, 3m left',
      'streaming: 10.0 MiB of 100 MiB, 341 KiB/s, 4m30s left',
    ]);
    progress.end();
    vi.advanceTimersByTime(60_000);
    expect(output.said).toHaveLength(3);
    expect(output.drawn).toEqual([]);
  });

  test('the rate is that of the object at hand, not of the one before', () => {
    const output = recordedOutput();
    const progress = progressLine(output, { quiet: false });
    progress.update({ step: 'read', message: 'reading a', bytes: 0 });
    vi.advanceTimersByTime(9000);
    progress.update({ step: 'read', message: 'reading b', bytes: 2 * MIB });
    vi.advanceTimersByTime(1000);
    progress.end();
    expect(output.said).toEqual(['reading b: 2.00 MiB, 2.00 MiB/s']);
  });

  test('a note stands on a line of its own: the live one is cleared before', () => {
    const output = recordedOutput({ live: true });
    const progress = progressLine(output, { quiet: false });
    progress.update({ step: 'read', message: 'reading' });
    vi.advanceTimersByTime(1000);
    progress.note('SIGINT: stopping');
    progress.end();
    expect(output.drawn).toEqual(['reading', '']);
    expect(output.said).toEqual(['SIGINT: stopping']);
  });

  test('--quiet says nothing', () => {
    const output = recordedOutput({ live: true });
    const progress = progressLine(output, { quiet: true });
    progress.update({ step: 'read', message: 'reading' });
    vi.advanceTimersByTime(60_000);
    progress.end();
    expect([...output.drawn, ...output.said]).toEqual([]);
  });
});
