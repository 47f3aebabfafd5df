/** Bytes as `hexdump -C` shows them. */

const PER_LINE = 16;

/** What is shown of binary values unless all is asked for. */
export const SHOWN_BYTES = 256;

/** @param limit bytes that are shown; what is left out is counted in the last line */
export function hexLines(bytes: Buffer, limit: number = SHOWN_BYTES): string[] {
  const shown = bytes.subarray(0, limit);
  const lines: string[] = [];
  for (let at = 0; at < shown.length; at += PER_LINE) {
    const part = shown.subarray(at, at + PER_LINE);
    const pairs = Array.from(part, (byte) => byte.toString(16).padStart(2, '0'));
    const columns = `${pairs.slice(0, 8).join(' ')}  ${pairs.slice(8).join(' ')}`;
    lines.push(`${at.toString(16).padStart(8, '0')}  ${columns.padEnd(PER_LINE * 3)}  |${printableAscii(part)}|`);
  }
  const left = bytes.length - shown.length;
  if (left > 0) lines.push(`... ${left} more byte${left === 1 ? '' : 's'}`);
  return lines;
}

function printableAscii(bytes: Buffer): string {
  return Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
}
