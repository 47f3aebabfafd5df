/**
 * Tells our own keys in etcd (docs of `keyPrefix`: the lock, who leads, which slots were served, what was
 * maintained when, which member is being replaced, the keys that move a revision on and that prove a put) from a user's.
 * They say what goes on now: a lock that comes back out of a backup, without its lease, would keep every backup out until somebody deletes it by hand.
 * Not everything below the prefix, because the prefix may be one that others use too.
 * @param keyPrefix with or without a slash at the end, as in `openCoordination`
 */
export function ownKeys(keyPrefix: string): (key: Buffer) => boolean {
  const prefix = keyPrefix.replace(/\/+$/, '');
  const whole = ['lock', 'advance', 'probe'].map((name) => Buffer.from(`${prefix}/${name}`));
  const below = ['leader', 'slots', 'maintenance', 'replace'].map((name) => Buffer.from(`${prefix}/${name}/`));
  return (key) => whole.some((own) => key.equals(own)) || below.some((own) => key.subarray(0, own.length).equals(own));
}
