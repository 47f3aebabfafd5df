/** Files that no proof is claimed of: whether HashKV of a later etcd counts the same bytes is not known, and a hash that differs would be called damage. */
import { errorDetails } from '../../errors.ts';
import { requireKnownSchema, type Versioned } from '../../mvcc/schema.ts';

/** Before any member is asked: nobody should apply no writes for an answer that cannot be used. @returns undefined when the schema is known */
export function unprovableSchema(found: Versioned): { readonly code: string; readonly reason: string } | undefined {
  try {
    requireKnownSchema(found, 'its proof');
    return undefined;
  } catch (error) {
    const { code, message } = errorDetails(error);
    return { code, reason: message };
  }
}
