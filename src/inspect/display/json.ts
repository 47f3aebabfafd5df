/** JSON as people read it. Works on the text: numbers beyond 2^53, repeated names and the order of names stay as they are. */

/** Deeper documents stay as they are: each line would be mostly indentation. */
const MAX_DEPTH = 100;
const INDENT = '  ';

/** The value, or undefined when the text is no JSON document of an object or a list. */
export function parseJson(text: string): unknown {
  const first = /^\s*([{[])/u.exec(text);
  if (first === null) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // text that begins with a brace
  }
}

/** @param text valid JSON. @returns undefined when it is too deep */
export function indentJson(text: string): string | undefined {
  const parts: string[] = [];
  let depth = 0;
  let opened = false; // the token before was a bracket that opens
  for (const token of tokensOf(text)) {
    const closes = token === '}' || token === ']';
    if (closes) depth -= 1;
    // A line of its own for the first of a container, and for what closes one that is not empty.
    if (opened !== closes) parts.push(newline(depth));
    opened = token === '{' || token === '[';
    if (opened) depth += 1;
    if (depth > MAX_DEPTH) return undefined;
    parts.push(token === ':' ? ': ' : token);
    if (token === ',') parts.push(newline(depth));
  }
  return parts.join('');
}

/** Strings, punctuation, and what stands between them; white space goes. No regular expression: strings of a megabyte are usual here. */
function* tokensOf(text: string): Generator<string, void, undefined> {
  for (let at = 0; at < text.length;) {
    const character = text[at]!;
    let end = at + 1;
    if (character === '"') {
      while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
      end += 1;
    } else if (!PUNCTUATION.has(character) && !BLANK.has(character)) {
      while (end < text.length && !PUNCTUATION.has(text[end]!) && !BLANK.has(text[end]!)) end += 1;
    }
    if (!BLANK.has(character)) yield text.slice(at, end);
    at = end;
  }
}

const PUNCTUATION: ReadonlySet<string> = new Set('{}[],:');
const BLANK: ReadonlySet<string> = new Set(' \t\r\n');

function newline(depth: number): string {
  return `\n${INDENT.repeat(depth)}`;
}
