import { describe, expect, test } from 'vitest';
import { stopOnSignals } from './signals.ts';

function watched() {
  const said: string[] = [];
  const exits: number[] = [];
  const stop = stopOnSignals(
    (name) => said.push(name),
    (code) => exits.push(code),
  );
  return { said, exits, ...stop };
}

// `emit` instead of `kill`: it is the handlers that are tested, and a real signal would come at a moment of its own.
describe('signals', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('the first %s stops cleanly and is announced', (name) => {
    const { said, exits, signal, remove } = watched();
    process.emit(name, name);
    remove();
    expect({ said, exits, aborted: signal.aborted }).toEqual({ said: [name], exits: [], aborted: true });
    expect(signal.reason).toMatchObject({ code: 'interrupted', exitCode: 130 });
  });

  test('fault 77: the second one ends at once with 130, whichever it is', () => {
    const { said, exits, remove } = watched();
    process.emit('SIGINT', 'SIGINT');
    process.emit('SIGTERM', 'SIGTERM');
    remove();
    expect({ said, exits }).toEqual({ said: ['SIGINT'], exits: [130] });
  });

  test('no handler stays behind', () => {
    const before = process.listenerCount('SIGINT');
    watched().remove();
    expect(process.listenerCount('SIGINT')).toBe(before);
  });
});
