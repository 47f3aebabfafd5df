import { describe, expect, test } from 'vitest';
import { asRoundSummary } from './results.ts';

const PLAN = { refusals: [], steps: [], noSpace: false };
const ROUND = { outcome: 'done', actions: [], plan: PLAN };

describe('what a round of maintenance answers', () => {
  test('is taken as it is', () => {
    const action = {
      action: 'defrag',
      member: 'm1',
      tookMs: 5,
      beforeBytes: 9,
      afterBytes: 3,
      predictedMs: 4,
      overdue: true,
      message: 'm1',
    };
    const refusal = { rule: 'cooldown', member: 'm2', message: 'an hour ago', hint: 'wait' };
    const failure = { code: 'timeout', message: 'm1 did not come back', hint: 'look' };
    const steps = [{ action: { kind: 'disarm', members: ['1'] }, predictedMs: undefined }];
    const plan = { ...PLAN, refusals: [refusal], steps, noSpace: true, againMs: 77 };
    expect(asRoundSummary({ outcome: 'failed', actions: [action], plan, failure, last: { compact: 7, disarm: 'late', move: 9 } })).toEqual({
      outcome: 'failed',
      actions: [action],
      refusals: [refusal],
      failure,
      last: { compact: 7 },
      next: 'disarm',
      noSpace: true,
      againMs: 77,
    });
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['a list', []],
    ['no outcome', { ...ROUND, outcome: undefined }],
    ['an outcome that this version does not know', { ...ROUND, outcome: 'splendid' }],
    ['no plan', { ...ROUND, plan: null }],
    ['actions that are no list', { ...ROUND, actions: {} }],
    ['refusals that are no list', { ...ROUND, plan: { ...PLAN, refusals: 7 } }],
  ])('is not understood with %s', (_, value) => {
    expect(asRoundSummary(value)).toBeUndefined();
  });

  test('loses what this version does not know and keeps the rest, however it is formed', () => {
    const summary = asRoundSummary({
      ...ROUND,
      actions: [
        7,
        { action: 'explode', tookMs: 1 },
        { action: 'defrag', tookMs: '1' },
        { action: 'disarm', tookMs: 1, member: 8, message: 9 },
      ],
      plan: {
        refusals: ['x', { rule: 'toString', message: 'of no table' }, { rule: 7 }, { rule: 'done', member: 8, message: 9, hint: 10 }],
        steps: [{ action: 'x' }],
        noSpace: 'yes',
        againMs: 'soon',
      },
      failure: { code: 7, message: 8 },
    });
    expect(summary).toEqual({
      outcome: 'done',
      actions: [{ action: 'disarm', member: undefined, tookMs: 1, message: '' }],
      refusals: [{ rule: 'done', member: undefined, message: 'everything that was asked for is done' }],
      failure: { code: 'failed', message: '', hint: undefined },
      next: undefined,
      noSpace: false,
      againMs: undefined,
      last: {},
    });
  });

  test('is cut where it has no end', () => {
    const refusals = Array.from({ length: 5000 }, () => ({ rule: 'cooldown', message: 'x' }));
    expect(asRoundSummary({ ...ROUND, plan: { ...PLAN, refusals } })?.refusals).toHaveLength(100);
  });
});
