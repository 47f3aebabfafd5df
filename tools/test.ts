/**
 * `npm test`: every check, one after the other, whatever the ones before said; a summary at the end. Names of checks as arguments run only
 * those (`npm test -- lint types`).
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const REPORTS = join(ROOT, '.tmp/reports');
const SLOWEST_SHOWN = 20;

interface Check {
  name: string;
  /** A script of an installed package, and its arguments: all of them run with the Node that runs this. */
  script: string;
  args: string[];
  vitest?: boolean;
}

interface Outcome {
  name: string;
  seconds: number;
  passed: number;
  failed: number;
}

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { assertionResults: { fullName: string; duration?: number | null }[] }[];
}

const CHECKS: Check[] = [
  { name: 'lint', script: 'oxlint/bin/oxlint', args: ['--type-aware'] },
  { name: 'format', script: 'oxfmt/bin/oxfmt', args: ['--check'] },
  { name: 'unused', script: 'knip/bin/knip.js', args: [] },
  { name: 'types', script: 'typescript/bin/tsc', args: ['--noEmit', '-p', '.'] },
  { name: 'unit', script: 'vitest/vitest.mjs', args: ['run', '--project', 'unit*'], vitest: true },
  { name: 'integration', script: 'vitest/vitest.mjs', args: ['run', '--project', 'integration'], vitest: true },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !CHECKS.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(`no such check: ${unknown.join(', ')}; there are ${CHECKS.map((check) => check.name).join(', ')}`);
  process.exit(2);
}

rmSync(REPORTS, { recursive: true, force: true });
mkdirSync(REPORTS, { recursive: true });
const outcomes: Outcome[] = [];
for (const check of CHECKS) {
  if (wanted.length === 0 || wanted.includes(check.name)) outcomes.push(await runCheck(check));
}
printSlowest();
printSummary(outcomes);

async function runCheck(check: Check): Promise<Outcome> {
  console.log(`\n== ${check.name}`);
  const started = Date.now();
  const reporters = check.vitest === true ? ['--reporter=default', '--reporter=json', `--outputFile.json=${reportOf(check.name)}`] : [];
  const code = await run([join(ROOT, 'node_modules', check.script), ...check.args, ...reporters]);
  const counted = check.vitest === true ? readReport(check.name) : undefined;
  const passed = counted?.numPassedTests ?? (code === 0 ? 1 : 0);
  // A run can fail without a failed test: an error outside of any, or no test at all. It must not count as a success.
  const failed = Math.max(counted?.numFailedTests ?? 0, code === 0 ? 0 : 1);
  return { name: check.name, seconds: (Date.now() - started) / 1000, passed, failed };
}

function run(args: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

function reportOf(name: string): string {
  return join(REPORTS, `${name}.json`);
}

function readReport(name: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(reportOf(name), 'utf8')) as Report;
  } catch {
    // Vitest ended before it could write one; its exit code tells the outcome.
    return undefined;
  }
}

function printSlowest(): void {
  const tests = CHECKS.flatMap((check) => readReport(check.name)?.testResults ?? []).flatMap((file) => file.assertionResults);
  const slowest = tests.toSorted((a, b) => (b.duration ?? 0) - (a.duration ?? 0)).slice(0, SLOWEST_SHOWN);
  if (slowest.length === 0) return;
  console.log(`\n== the ${slowest.length} slowest tests`);
  for (const test of slowest) console.log(`${((test.duration ?? 0) / 1000).toFixed(2).padStart(8)} s  ${test.fullName.trim()}`);
}

function printSummary(all: Outcome[]): void {
  console.log('\n== summary');
  for (const { name, seconds, passed, failed } of all) {
    console.log(
      `${name.padEnd(12)} ${seconds.toFixed(1).padStart(7)} s  ${failed === 0 ? 'ok' : `FAILED (${failed})`}${passed > 1 ? `, ${passed} tests passed` : ''}`,
    );
  }
  const passed = all.reduce((sum, each) => sum + each.passed, 0);
  const failed = all.reduce((sum, each) => sum + each.failed, 0);
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
