import { WardenError } from '../errors.ts';

export function notBolt(sentence: string): WardenError {
  return new WardenError('not-bolt', sentence, {
    hint: 'a bbolt database begins with two meta pages: is this an etcd snapshot, and is it decompressed and decrypted?',
  });
}

/** @param where what to call the page, e.g. `page 12`. */
export function damaged(where: string, why: string): WardenError {
  return new WardenError('bolt-damaged', `${where} of the database is damaged: ${why}`, {
    hint: 'use another backup; to see all faults of this one: `bbolt check FILE`',
  });
}
