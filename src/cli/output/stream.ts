/** Answers that do not fit into memory: a table or a JSON document that is written while its rows come. */
import { errorDetails, ERRORS, type ErrorDetails } from '../../errors.ts';
import { jsonText } from './json.ts';
import { renderTable, type Column } from './table.ts';
import type { Output } from './terminal.ts';

/** Rows laid out together: enough for widths that fit, few enough to see the first ones soon. */
const ROWS = 200;

export interface TableStream<Row> {
  add(row: Row): Promise<void>;
  /** Writes what is left. */
  end(): Promise<void>;
}

/** A table whose columns, but for the last, come with a width of their own: rows that are laid out apart line up all the same. */
export function streamTable<Row>(columns: readonly Column<Row>[], output: Output): TableStream<Row> {
  let pending: Row[] = [];
  let begun = false;
  async function flush(): Promise<void> {
    if (pending.length === 0) return;
    await output.write(`${renderTable(columns, pending, output.width, begun ? 'next' : 'whole')}\n`);
    begun = true;
    pending = [];
  }
  return {
    async add(row) {
      pending.push(row);
      if (pending.length >= ROWS) await flush();
    },
    end: flush,
  };
}

/**
 * One JSON document: the fields of `head`, a list under `name` whose elements `produce` hands over one by one, and the fields that it returns.
 * What fails in the middle ends the list, and stands as `error` behind it, so that the document stays one.
 * @returns the exit code
 */
export async function streamJson(
  output: Output,
  head: Readonly<Record<string, unknown>>,
  name: string,
  produce: (add: (element: unknown) => Promise<void>) => Promise<Readonly<Record<string, unknown>>>,
): Promise<number> {
  const opening = jsonText(head);
  await output.write(`${opening === '{}' ? '{' : `${opening.slice(0, -2)},`}\n  ${JSON.stringify(name)}: [`);
  let first = true;
  let tail: Readonly<Record<string, unknown>>;
  let failure: ErrorDetails | undefined;
  try {
    tail = await produce(async (element) => {
      await output.write(`${first ? '' : ','}\n    ${jsonText(element, 0)}`);
      first = false;
    });
  } catch (error) {
    failure = errorDetails(error);
    tail = { error: failure };
  }
  const closing = jsonText(tail);
  await output.write(`${first ? '' : '\n  '}]${closing === '{}' ? '\n}' : `,${closing.slice(1)}`}\n`);
  return failure === undefined ? 0 : ERRORS[failure.code].exit;
}
