/** When a snapshot of another tool was taken, as far as its name or its last change tells. Pure. */
import { WardenError } from '../errors.ts';

/** RKE2 and k3s: `etcd-snapshot-<node>-<unix>`, `on-demand-<node>-<unix>`, with `.zip` when compressed. Ten digits: from 2001 to 2286. */
const UNIX_SECONDS = /-(\d{10})(?:\.[a-z]+)*$/;

/** Clocks of two machines differ a little. */
const SKEW_MS = 5 * 60_000;

/** @throws WardenError `usage` when it would lie in the future: such a backup would stand above all others until then */
export function timeOfSnapshot(name: string, modified: Date, now: Date): Date {
  const seconds = UNIX_SECONDS.exec(name)?.[1];
  const named = seconds === undefined ? undefined : new Date(Number(seconds) * 1000);
  // Ten digits may be anything: a name counts when the file was written then, or copied later.
  const time = named !== undefined && named.getTime() <= modified.getTime() + SKEW_MS ? named : modified;
  return notInFuture(time, now);
}

/** @throws WardenError `usage` */
export function timeGiven(text: string, now: Date): Date {
  const time = new Date(/^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)?$/.test(text) ? `${withTime(text)}Z` : text);
  if (Number.isNaN(time.getTime()) || !/^\d{4}-/.test(text))
    throw new WardenError('usage', `--time ${JSON.stringify(text)} is no time`, {
      hint: 'such as 2026-11-22T10:00:00Z; UTC without a zone',
    });
  return notInFuture(time, now);
}

function withTime(text: string): string {
  return text.length === 10 ? `${text}T00:00` : text.replace(' ', 'T');
}

function notInFuture(time: Date, now: Date): Date {
  if (time.getTime() <= now.getTime() + SKEW_MS) return time;
  throw new WardenError('usage', `the snapshot would be dated ${time.toISOString()}, which is in the future`, {
    hint: 'a clock was wrong; say when it was taken with --time',
  });
}
