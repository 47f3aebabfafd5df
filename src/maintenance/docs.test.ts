import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { MAINTENANCE_OPTIONS } from '../config/options-maintenance.ts';
import { METRICS } from '../telemetry/metric-table.ts';
import { RULES } from './planner/types.ts';

const page = readFileSync(new URL('../../docs/maintenance.md', import.meta.url), 'utf8');

/** The rows of the table below this heading, cell by cell. */
function tableUnder(heading: string): string[][] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| rule '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

describe('docs/maintenance.md', () => {
  test('tells of every rule what it means and what to do, in the order of the table of rules', () => {
    const rows = tableUnder('Rules');
    expect(rows.map(([rule]) => rule)).toEqual(Object.keys(RULES).map((rule) => `\`${rule}\``));
    for (const [rule, meaning, remedy] of rows) expect([rule, meaning !== '' && remedy !== '']).toEqual([rule, true]);
  });

  test('names with each rule the hazards that the table of rules names, and explains each of them', () => {
    const hazards = (text: string): string[] => [...text.matchAll(/\bH\d+/g)].map(([number]) => number);
    const rows = tableUnder('Rules');
    expect(rows.map(([rule, meaning = '']) => [rule, hazards(meaning)])).toEqual(
      Object.entries(RULES).map(([rule, meaning]) => [`\`${rule}\``, hazards(meaning)]),
    );
    const explained = tableUnder('Hazards').map(([number]) => number);
    expect([...new Set(Object.values(RULES).flatMap(hazards))].filter((number) => !explained.includes(number))).toEqual([]);
  });

  test('names no option that there is not', () => {
    const known = new Set(MAINTENANCE_OPTIONS.map(({ path }) => path));
    const named = [...page.matchAll(/\bmaintenance\.[a-zA-Z]+/g)].map(([path]) => path).filter((path) => path !== 'maintenance.md');
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((path) => !known.has(path))).toEqual([]);
  });

  test('names no metric that there is not', () => {
    const named = [...page.matchAll(/\betcd_warden_[a-z_]+/g)].map(([name]) => name);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !Object.hasOwn(METRICS, name))).toEqual([]);
  });
});
