import { WardenError } from '../errors.ts';

/** @param why what etcd would never have written, without the bytes of keys or values: they may be secrets */
export function notEtcd(why: string): WardenError {
  return new WardenError('not-etcd', `not a database of etcd, or a damaged one: ${why}`, {
    hint: 'verify another copy of this backup, or use another backup',
  });
}

/** @param why as above */
export function historyBroken(why: string): WardenError {
  return new WardenError('history-broken', `the changes of the database contradict each other: ${why}`, {
    hint: 'verify another copy of this backup, or use another backup',
  });
}
