import type { Output } from '../../src/cli/output/terminal.ts';

export interface RecordedOutput extends Output {
  /** Each result, as it was printed. */
  readonly printed: string[];
  /** Each line of stderr. */
  readonly said: string[];
  /** Each state of the live line. */
  readonly drawn: string[];
}

/** An output that remembers everything; by default that of a pipe. */
export function recordedOutput(facts: Partial<Pick<Output, 'width' | 'errWidth' | 'live'>> = {}): RecordedOutput {
  const printed: string[] = [];
  const said: string[] = [];
  const drawn: string[] = [];
  return {
    printed,
    said,
    drawn,
    out: (text) => printed.push(text),
    write: (piece) => {
      printed.push(piece.toString());
      return Promise.resolve();
    },
    err: (text) => said.push(text),
    rewrite: (text) => drawn.push(text),
    terminal: false,
    width: Infinity,
    errWidth: 80,
    live: false,
    style: (_name, text) => text,
    ...facts,
  };
}
