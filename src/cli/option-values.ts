/** Values of options as commander leaves them: texts, whatever they mean. */
import { WardenError } from '../errors.ts';
import type { Invocation } from './verb.ts';

/** What was given for an option that takes a value. */
export function given({ options }: Pick<Invocation, 'options'>, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

/** A whole number from an option; undefined when it was not given. @throws WardenError `usage` */
export function numberOption(invocation: Pick<Invocation, 'options'>, name: string, least: number): number | undefined {
  const value = given(invocation, name);
  if (value === undefined) return undefined;
  const number = /^\d{1,15}$/u.test(value) ? Number(value) : -1;
  if (number < least) throw new WardenError('usage', `--${name} ${JSON.stringify(value)} is not a whole number from ${least} on`);
  return number;
}

/** `--revision`. @throws WardenError `usage` */
export function revisionOption(invocation: Pick<Invocation, 'options'>): bigint | undefined {
  const value = given(invocation, 'revision');
  if (value === undefined) return undefined;
  if (!/^[1-9]\d{0,18}$/u.test(value))
    throw new WardenError('usage', `--revision ${JSON.stringify(value)} is not a revision`, { hint: 'a whole number from 1 on' });
  return BigInt(value);
}
