/**
 * The messages between daemon and job, checked on both sides: the other end is our own code, but perhaps of the version that an upgrade has
 * just replaced on disk under a running daemon.
 */
import type { ChildMessage, JobRequest, ParentMessage, ProgressEvent } from '../jobs/types.ts';

export const VERBS = [
  'backup',
  'prune',
  'copy',
  'drill',
  'prove',
  'index',
  'maintain',
  'survey',
  'sweep',
  'verify',
] as const satisfies readonly JobRequest['verb'][];
const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** @returns undefined for anything that is not a message of this version */
export function parseChildMessage(value: unknown): ChildMessage | undefined {
  if (!isRecord(value)) return undefined;
  switch (value['type']) {
    case 'progress':
      return isProgress(value['event']) ? { type: 'progress', event: value['event'] } : undefined;
    case 'log': {
      const { level, fields, message } = value;
      const known = LEVELS.find((one) => one === level);
      return known !== undefined && isRecord(fields) && typeof message === 'string'
        ? { type: 'log', level: known, fields, message }
        : undefined;
    }
    case 'result':
      return 'result' in value ? { type: 'result', result: value['result'] } : { type: 'result', result: undefined };
    case 'error': {
      const { code, message, hint } = value;
      if (typeof code !== 'string' || typeof message !== 'string') return undefined;
      return { type: 'error', code, message, hint: typeof hint === 'string' ? hint : undefined };
    }
    default:
      return undefined;
  }
}

/** @returns undefined for anything that is not a message of this version */
export function parseParentMessage(value: unknown): ParentMessage | undefined {
  if (!isRecord(value)) return undefined;
  if (value['type'] === 'stop') return { type: 'stop' };
  const { type, job, configuration, environment } = value;
  if (type !== 'start' || typeof configuration !== 'string' || !isRecord(environment) || !isRecord(job)) return undefined;
  if (!VERBS.some((verb) => verb === job['verb']) || !isRecord(job['request']) || typeof job['request']['cluster'] !== 'string')
    return undefined;
  if (!Object.values(environment).every((one) => typeof one === 'string')) return undefined;
  return { type, job: job as unknown as JobRequest, configuration, environment: environment as Record<string, string> };
}

function isProgress(value: unknown): value is ProgressEvent {
  if (!isRecord(value) || typeof value['step'] !== 'string') return false;
  const optional = (name: string, type: string): boolean => value[name] === undefined || typeof value[name] === type;
  return (
    optional('message', 'string') &&
    optional('bytes', 'number') &&
    optional('totalBytes', 'number') &&
    optional('subject', 'string') &&
    optional('overdue', 'boolean')
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
