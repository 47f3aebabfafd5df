/** Files of `NAME=value` lines, as systemd reads them (EnvironmentFile=, systemd.exec(5)). Pure. */
import { inserted, notUnderstood, replaced, UNCHANGED, type Edit } from './edit.ts';

const STATE = 'ETCD_INITIAL_CLUSTER_STATE';
const ASSIGNMENT = /^[ \t]*([A-Za-z_]\w*)[ \t]*=[ \t]*(.*?)[ \t]*\r?$/;

interface Assignment {
  readonly name: string;
  readonly value: string;
  /** Position of the value as it is written, quotes included. */
  readonly start: number;
  readonly written: string;
}

/** Values without their quotes; of several the last counts. */
export function readEnvironment(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(assignments(text).map(({ name, value }) => [name, value]));
}

/** @param where its path. @throws WardenError `refused` for what this does not understand */
export function existingInEnvironment(where: string, text: string): Edit {
  const all = assignments(text);
  const [found, another] = all.filter(({ name }) => name === STATE);
  if (another !== undefined) throw notUnderstood(where, `${STATE} is set more than once`);
  if (/\\\r?\n/.test(text)) throw notUnderstood(where, 'lines go on behind a backslash');
  if (found === undefined) {
    const cluster = all.findLast(({ name }) => name === 'ETCD_INITIAL_CLUSTER');
    if (cluster === undefined) throw notUnderstood(where, `it sets neither ${STATE} nor ETCD_INITIAL_CLUSTER`);
    const quote = /^["']/.exec(cluster.written)?.[0] ?? '';
    return inserted(text, cluster.start, `${STATE}=${quote}existing${quote}`);
  }
  if (found.value === 'existing') return { text, ...UNCHANGED };
  const quoted = /^(["']?)(new)\1$/.exec(found.written);
  if (quoted === null) throw notUnderstood(where, `${STATE} is ${found.written || 'empty'}, and neither new nor existing`);
  return replaced(where, text, found.start, found.start + found.written.length, `${quoted[1]}existing${quoted[1]}`);
}

function assignments(text: string): Assignment[] {
  let at = 0;
  return text.split('\n').flatMap((line): Assignment[] => {
    const begin = at;
    at += line.length + 1;
    const match = ASSIGNMENT.exec(line);
    if (match === null || /^[ \t]*[#;]/.test(line)) return [];
    const [, name = '', written = ''] = match;
    return [{ name, written, value: unquoted(written), start: begin + line.indexOf(written, line.indexOf('=') + 1) }];
  });
}

function unquoted(written: string): string {
  const match = /^(["'])([^]*)\1$/.exec(written);
  return match === null ? written : (match[2] ?? '');
}
