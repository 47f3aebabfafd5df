/** Two lists of lines as a unified text. Myers' algorithm ("An O(ND) Difference Algorithm", 1986), bounded: what differs too much is shown whole. */

const CONTEXT = 3;

/** Edits looked for; the trace takes their square in memory (8 MiB). Beyond it two texts have little in common that would help a reader. */
const MAX_EDITS = 1000;

interface Edit {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

/** Lines with `@@` heads, as `diff -u` prints them; empty when nothing differs. */
export function unifiedLines(before: readonly string[], after: readonly string[]): string[] {
  const edits = editsBetween(before, after);
  const lines: string[] = [];
  for (const [start, end] of hunksOf(edits)) {
    const head = edits.slice(0, start);
    const body = edits.slice(start, end);
    lines.push(`@@ -${place(head, body, '+')} +${place(head, body, '-')} @@`, ...body.map(({ mark, text }) => `${mark}${text}`));
  }
  return lines;
}

/** `line,count` of a hunk on the side that has no lines with `other`. An empty side names the line before, as diff does. */
function place(head: readonly Edit[], body: readonly Edit[], other: '-' | '+'): string {
  const count = body.filter(({ mark }) => mark !== other).length;
  const line = head.filter(({ mark }) => mark !== other).length + (count === 0 ? 0 : 1);
  return count === 1 ? String(line) : `${line},${count}`;
}

/** Runs of edits with what stands around them, from and to (excluded). */
function hunksOf(edits: readonly Edit[]): (readonly [number, number])[] {
  const hunks: [number, number][] = [];
  for (const [at, { mark }] of edits.entries()) {
    if (mark === ' ') continue;
    const [start, end] = [Math.max(0, at - CONTEXT), Math.min(edits.length, at + 1 + CONTEXT)];
    const last = hunks.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = end;
    else hunks.push([start, end]);
  }
  return hunks;
}

function editsBetween(before: readonly string[], after: readonly string[]): Edit[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < before.length - head && tail < after.length - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const middle = middleEdits(before.slice(head, before.length - tail), after.slice(head, after.length - tail));
  const same = (text: string): Edit => ({ mark: ' ', text });
  return [...before.slice(0, head).map(same), ...middle, ...before.slice(before.length - tail).map(same)];
}

function middleEdits(before: readonly string[], after: readonly string[]): Edit[] {
  const trace = shortestPath(before, after);
  if (trace === undefined)
    return [...before.map((text): Edit => ({ mark: '-', text })), ...after.map((text): Edit => ({ mark: '+', text }))];
  const edits: Edit[] = [];
  let [x, y] = [before.length, after.length];
  for (let d = trace.length - 1; d >= 0; d -= 1) {
    const reached = trace[d]!;
    const k = x - y;
    const down = k === -d || (k !== d && at(reached, d, k - 1) < at(reached, d, k + 1));
    const previousK = down ? k + 1 : k - 1;
    const previousX = d === 0 ? 0 : at(reached, d, previousK);
    const previousY = previousX - previousK;
    while (x > previousX && y > previousY && x > 0 && y > 0) {
      edits.push({ mark: ' ', text: before[x - 1]! });
      [x, y] = [x - 1, y - 1];
    }
    if (d === 0) break;
    edits.push(down ? { mark: '+', text: after[y - 1]! } : { mark: '-', text: before[x - 1]! });
    [x, y] = [previousX, previousY];
  }
  return edits.reverse();
}

/** For each number of edits how far each diagonal was reached before it; undefined when there are too many. */
function shortestPath(before: readonly string[], after: readonly string[]): Int32Array[] | undefined {
  const trace: Int32Array[] = [];
  let reached = new Int32Array(3);
  for (let d = 0; d <= Math.min(MAX_EDITS, before.length + after.length); d += 1) {
    trace.push(reached);
    const next = new Int32Array(2 * d + 5);
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && at(reached, d, k - 1) < at(reached, d, k + 1));
      let x = d === 0 ? 0 : down ? at(reached, d, k + 1) : at(reached, d, k - 1) + 1;
      while (x < before.length && x - k < after.length && before[x] === after[x - k]) x += 1;
      next[k + d + 2] = x;
      if (x >= before.length && x - k >= after.length) return trace;
    }
    reached = next;
  }
  return undefined;
}

/** What the round before `d` noted for diagonal `k`: it spans -(d-1) to d-1, with one to spare on each side. */
function at(reached: Int32Array, d: number, k: number): number {
  return reached[k + d + 1] ?? 0;
}
