import type { Invocation } from '../verb.ts';
import { printable } from './table.ts';

/** Something that whoever reads the answer should know, above a live progress line. */
export function noteTo({ output }: Pick<Invocation, 'output'>, sentence: string): void {
  if (output.live) output.rewrite('');
  output.err(`${output.style('yellow', 'note:')} ${printable(sentence)}`);
}
