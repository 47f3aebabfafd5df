import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program } from '../../../tools/programs.ts';

const run = promisify(execFile);
const UNITS = ['etcd-warden.service', 'etcd-warden-backup.service', 'etcd-warden-backup.timer'] as const;
const SERVICES = UNITS.filter((unit) => unit.endsWith('.service'));
const MOST_EXPOSED = 1.3;

/** What leaves a service exposed in the eyes of systemd-analyze, and the words of the comment in the unit that explain each. */
const EXPLAINED: Readonly<Record<string, RegExp>> = {
  'RootDirectory=/RootImage=': /no RootDirectory=, because/,
  'MemoryDenyWriteExecute=': /MemoryDenyWriteExecute= stays off, because/,
  'RestrictAddressFamilies=~AF_UNIX': /Relaxed: AF_UNIX is for/,
  'RestrictAddressFamilies=~AF_(INET|INET6)': /Internet sockets are allowed, because/,
  'PrivateNetwork=': /PrivateNetwork= stays off/,
  'IPAddressDeny=': /IPAddressDeny= stays empty/,
  'NotifyAccess=': /Relaxed: `all` and not `main`, because/,
  'DeviceAllow=': /ProtectClock= leaves the clock device readable/,
};

describe('the systemd units', () => {
  let folder = '';
  let analyze = '';

  // verify wants the program of ExecStart= to exist, and this machine need not have the package installed: the copies name one that does.
  beforeAll(() => {
    analyze = program('systemd-analyze');
    folder = mkdtempSync(join(tmpdir(), 'units-'));
    for (const unit of UNITS) writeFileSync(join(folder, unit), text(unit).replaceAll('/usr/bin/etcd-warden', process.execPath));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each(UNITS)('systemd-analyze verify has nothing to say about %s', async (unit) => {
    const { stdout, stderr } = await run(analyze, ['verify', '--man=no', join(folder, unit)], {
      env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` },
    });
    expect(stdout + stderr).toBe('');
  });

  test.each(SERVICES)(
    `systemd-analyze security rates %s at ${MOST_EXPOSED} or better, and each relaxation is explained by a comment`,
    async (unit) => {
      const { stdout } = await run(analyze, ['security', '--offline=true', '--no-pager', join(folder, unit)], {
        env: { ...process.env, LC_ALL: 'C.UTF-8' },
      });
      const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
      expect(exposure).toBeLessThanOrEqual(MOST_EXPOSED);
      const relaxed = stdout.split('\n').flatMap((line) => /^\S*✗\S*\s+(\S+)/.exec(line)?.[1] ?? []);
      expect(relaxed.length).toBeGreaterThan(0);
      for (const name of relaxed) {
        expect(EXPLAINED[name], `${name} is relaxed`).toBeDefined();
        expect(text(unit), `${name} is explained`).toMatch(EXPLAINED[name]!);
      }
    },
  );

  test('the daemon is ordered after etcd and not bound to it: it must outlive an etcd that fails', () => {
    const unit = text('etcd-warden.service');
    expect(unit).toMatch(/^After=.*\betcd\.service\b/m);
    expect(unit).not.toMatch(/^(Requires|BindsTo|PartOf|Requisite)=/m);
  });

  test('the daemon is of type notify with a watchdog, a state folder, and credentials in place of readable files', () => {
    const unit = text('etcd-warden.service');
    for (const line of ['Type=notify', 'NotifyAccess=all', 'StateDirectory=etcd-warden']) expect(unit.split('\n')).toContain(line);
    expect(Number(/^WatchdogSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThanOrEqual(60);
    expect(unit).toMatch(/^LoadCredential=etcd-password:/m);
    expect(unit).toMatch(/^ExecReload=.*-HUP \$MAINPID$/m);
  });

  test('systemd leaves the daemon longer to stop than the daemon leaves its jobs', () => {
    for (const unit of SERVICES) expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(text(unit))?.[1])).toBeGreaterThanOrEqual(45);
  });

  test('no secret can stand in a unit: there is no Environment= and no flag for one', () => {
    for (const unit of UNITS) expect(text(unit)).not.toMatch(/^(Environment|EnvironmentFile|SetCredential)=/m);
  });
});

function text(unit: string): string {
  return readFileSync(new URL(`../../../systemd/${unit}`, import.meta.url), 'utf8');
}
