/** Changing one line of a text, and being sure that it is one. Pure. */
import { WardenError } from '../../../errors.ts';

export interface Edit {
  readonly text: string;
  /** 1-based; undefined = it was so already. */
  readonly line: number | undefined;
  /** What the line was; undefined = it was added. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export const UNCHANGED = { line: undefined, before: undefined, after: undefined } as const;

/** @throws WardenError `refused`: the file is not changed by a guess */
export function notUnderstood(where: string, why: string): WardenError {
  return new WardenError('refused', `${where} is not changed: ${why}`, {
    hint: 'set initial-cluster-state to existing there by hand, and run the same command again',
  });
}

/** @param start of what is replaced, a position in the text; `end` behind it. @throws WardenError `refused` when more than that line would differ */
export function replaced(where: string, text: string, start: number, end: number, by: string): Edit {
  const edited = text.slice(0, start) + by + text.slice(end);
  const [before, after] = [text.split('\n'), edited.split('\n')];
  const at = before.findIndex((line, index) => line !== after[index]);
  const same = before.every((line, index) => index === at || line === after[index]);
  if (at === -1 || before.length !== after.length || !same) throw notUnderstood(where, 'more than one line would differ');
  return { text: edited, line: at + 1, before: before[at], after: after[at] };
}

/** Puts a line of its own behind the one that a position lies in. */
export function inserted(text: string, behind: number, line: string): Edit {
  const end = text.indexOf('\n', behind);
  const cr = end > 0 && text[end - 1] === '\r' ? '\r' : '';
  const edited = end === -1 ? `${text}\n${line}` : `${text.slice(0, end + 1)}${line}${cr}\n${text.slice(end + 1)}`;
  const number = text.slice(0, behind).split('\n').length + 1;
  return { text: edited, line: number, before: undefined, after: line };
}
