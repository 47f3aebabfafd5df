/** What may appear in a log line: plain JSON, errors as code, message and hint, and nothing that is named like a secret. */
import { WardenError } from '../errors.ts';

const SECRET_NAME = /password|passwd|secret|token|identity|authorization|credential|accesskey|customerkey/i;
const MAX_DEPTH = 4;

/**
 * A second line of defence: configuration is never logged at all. `code`, `message` and `hint` keep their names because alerts match on them.
 */
export function fieldsForLog(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) out[name] = SECRET_NAME.test(name) ? '[redacted]' : plain(value, 0);
  }
  return out;
}

export interface SerializedError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly cause?: SerializedError;
}

/** Code, sentence and hint; never a stack, which is for the debugger, and never other properties, which may hold requests with credentials. */
export function serializeError(error: Error, depth = 0): SerializedError {
  const code = error instanceof WardenError ? error.code : codeOf(error);
  const hint = error instanceof WardenError ? error.hint : undefined;
  const cause = error.cause instanceof Error && depth < 3 ? serializeError(error.cause, depth + 1) : undefined;
  return { code, message: error.message, ...(hint === undefined ? {} : { hint }), ...(cause === undefined ? {} : { cause }) };
}

function plain(value: unknown, depth: number): unknown {
  if (value instanceof Error) return serializeError(value);
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '…';
  if (Array.isArray(value)) return value.map((one) => plain(one, depth + 1));
  const out: Record<string, unknown> = {};
  for (const [name, one] of Object.entries(value)) out[name] = SECRET_NAME.test(name) ? '[redacted]' : plain(one, depth + 1);
  return out;
}

function codeOf(error: Error): string {
  const { code } = error as Error & { code?: unknown };
  return typeof code === 'string' || typeof code === 'number' ? String(code) : 'failed';
}
