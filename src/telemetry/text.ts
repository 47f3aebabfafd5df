/** One JSON log line as people read it: `12:00:01 warn  the sentence  cluster=prod bytes=12`. */
import { styleText } from 'node:util';

const COLOURS = { trace: 'gray', debug: 'gray', info: 'cyan', warn: 'yellow', error: 'red' } as const;

export function textLine(json: string, options: { colour: boolean; time: boolean }): string {
  let line: Record<string, unknown>;
  try {
    line = JSON.parse(json) as Record<string, unknown>;
  } catch {
    return json;
  }
  const { level, time, message, ...fields } = line;
  const name = typeof level === 'string' ? level : 'info';
  const shown = name.padEnd(5);
  const clock = options.time && typeof time === 'string' ? `${time.slice(11, 19)} ` : '';
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${valueText(value)}`);
  const label =
    options.colour && name in COLOURS ? styleText(COLOURS[name as keyof typeof COLOURS], shown, { validateStream: false }) : shown;
  return `${clock}${label} ${printable(typeof message === 'string' ? message : '')}${rest.length > 0 ? ' ' : ''}${rest.join('')}\n`;
}

function valueText(value: unknown): string {
  if (typeof value !== 'string') return isError(value) ? valueText(errorText(value)) : JSON.stringify(value);
  return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
}

function isError(value: unknown): value is { code: string; message: string; hint?: string } {
  return typeof value === 'object' && value !== null && 'code' in value && 'message' in value;
}

function errorText(error: { code: string; message: string; hint?: string }): string {
  return `${error.message} (${error.code})${error.hint === undefined ? '' : `; ${error.hint}`}`;
}

/** A message from a server must not be able to move the cursor or forge a second line. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
