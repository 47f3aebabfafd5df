/**
 * `npm test`: every check, one after the other, whatever the ones before said; a summary at the end. Names of checks as arguments run only
 * those (`npm test -- lint types`).
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const REPORTS = join(ROOT, '.tmp/reports');
const SLOWEST_SHOWN = 20;
/** Files that may be run a second time: more than that is no bad moment of the machine. */
const AGAIN_AT_MOST = 3;

interface Check {
  name: string;
  /** A script of an installed package, and its arguments: all of them run with the Node that runs this. */
  script: string;
  args: string[];
  vitest?: boolean;
  /**
   * Files with a failed test are run once more, alone. These tests have real clusters elect under two workers on two cores that others use too, and one of
   * thirteen hundred meets a machine that stands still. What fails for a reason fails again; what does not is named at the end, to be looked at.
   */
  again?: boolean;
}

interface Outcome {
  name: string;
  seconds: number;
  passed: number;
  failed: number;
  /** Tests that passed only when they were run again. */
  unsteady: string[];
}

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { name: string; status: string; assertionResults: { fullName: string; status: string; duration?: number | null }[] }[];
}

const CHECKS: Check[] = [
  { name: 'lint', script: 'oxlint/bin/oxlint', args: ['--type-aware'] },
  { name: 'format', script: 'oxfmt/bin/oxfmt', args: ['--check'] },
  { name: 'unused', script: 'knip/bin/knip.js', args: [] },
  { name: 'types', script: 'typescript/bin/tsc', args: ['--noEmit', '-p', '.'] },
  { name: 'unit', script: 'vitest/vitest.mjs', args: ['run', '--project', 'unit*'], vitest: true },
  { name: 'integration', script: 'vitest/vitest.mjs', args: ['run', '--project', 'integration'], vitest: true, again: true },
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
  const first = await runOnce(check, check.name);
  const unsteady = check.again === true && (await passesAlone(check, first)) ? failedTests(first.report) : [];
  return {
    name: check.name,
    seconds: (Date.now() - started) / 1000,
    passed: first.passed + unsteady.length,
    failed: unsteady.length > 0 ? 0 : first.failed,
    unsteady,
  };
}

interface Ran extends Pick<Outcome, 'passed' | 'failed'> {
  report: Report | undefined;
}

async function runOnce(check: Check, name: string, more: string[] = []): Promise<Ran> {
  const reporters = check.vitest === true ? ['--reporter=default', '--reporter=json', `--outputFile.json=${reportOf(name)}`] : [];
  const code = await run([join(ROOT, 'node_modules', check.script), ...check.args, ...reporters, ...more]);
  const report = check.vitest === true ? readReport(name) : undefined;
  const passed = report?.numPassedTests ?? (code === 0 ? 1 : 0);
  // A run can fail without a failed test: an error outside of any, or no test at all. It must not count as a success.
  const failed = Math.max(report?.numFailedTests ?? 0, code === 0 ? 0 : 1);
  return { passed, failed, report };
}

/** Whether all files with a failed test pass without neighbours. */
async function passesAlone(check: Check, { report }: Ran): Promise<boolean> {
  if (report === undefined || failedTests(report).length === 0) return false;
  const files = report.testResults.filter(({ status }) => status === 'failed');
  // Of a file that failed as a whole nothing tells which tests it has.
  const whole = files.some(({ assertionResults }) => !assertionResults.some(({ status }) => status === 'failed'));
  if (whole || files.length > AGAIN_AT_MOST) return false;
  console.log(`\n== ${check.name}, again and alone: ${files.map(({ name }) => relative(ROOT, name)).join(', ')}`);
  const second = await runOnce(check, `${check.name}-again`, ['--maxWorkers=1', ...files.map(({ name }) => name)]);
  return second.failed === 0 && second.passed > 0;
}

function failedTests(report: Report | undefined): string[] {
  const tests = (report?.testResults ?? []).flatMap((file) => file.assertionResults);
  return tests.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName.trim());
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
  for (const name of all.flatMap(({ unsteady }) => unsteady))
    console.log(`\nUNSTEADY: it failed, and passed when it was run again alone: ${name}`);
  const passed = all.reduce((sum, each) => sum + each.passed, 0);
  const failed = all.reduce((sum, each) => sum + each.failed, 0);
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
