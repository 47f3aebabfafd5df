import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { recordingLogger } from '../../test/support/daemon-fakes.ts';
import { statusLine, systemdNotifier } from './notify.ts';

describe('the word to systemd', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'notify-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  test('goes through systemd-notify, each assignment an argument of its own, with nothing of the environment but the socket', async () => {
    const command = join(folder, 'systemd-notify');
    writeFileSync(command, `#!/bin/sh\nprintf '%s\\n' "$@" "socket $NOTIFY_SOCKET" "secret $SECRET" > ${folder}/said\n`);
    chmodSync(command, 0o755);
    const { logger } = recordingLogger();
    const notifier = systemdNotifier({ NOTIFY_SOCKET: '/run/x', SECRET: 'hunter2', PATH: process.env['PATH'] }, logger, command);
    await notifier.send('READY=1', 'STATUS=two words; $(not run)');
    expect(readFileSync(join(folder, 'said'), 'utf8')).toBe('READY=1\nSTATUS=two words; $(not run)\nsocket /run/x\nsecret \n');
  });

  test('is not spoken where nobody listens', async () => {
    const { logger, lines } = recordingLogger();
    const notifier = systemdNotifier({}, logger, join(folder, 'missing'));
    await notifier.send('READY=1');
    expect({ active: notifier.active, watchdogMs: notifier.watchdogMs, lines }).toEqual({
      active: false,
      watchdogMs: undefined,
      lines: [],
    });
  });

  test('failing, is complained of once and stops nothing', async () => {
    const { logger, lines } = recordingLogger();
    const notifier = systemdNotifier({ NOTIFY_SOCKET: '/run/x' }, logger, join(folder, 'missing'));
    await notifier.send('READY=1');
    await notifier.send('WATCHDOG=1');
    expect(lines.map(({ level }) => level)).toEqual(['warn']);
  });

  test('knows the interval of the watchdog, unless it is meant for another process', () => {
    const { logger } = recordingLogger();
    const watchdog = (environment: NodeJS.ProcessEnv): number | undefined =>
      systemdNotifier({ NOTIFY_SOCKET: '/run/x', ...environment }, logger).watchdogMs;
    expect(watchdog({ WATCHDOG_USEC: '60000000' })).toBe(60_000);
    expect(watchdog({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: String(process.pid) })).toBe(60_000);
    expect(watchdog({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' })).toBeUndefined();
    expect(watchdog({ WATCHDOG_USEC: 'soon' })).toBeUndefined();
    expect(watchdog({})).toBeUndefined();
  });

  test('keeps the status on one line', () => {
    expect(statusLine('a\nREADY=1')).toBe('STATUS=a READY=1');
    expect(statusLine('x'.repeat(1000))).toHaveLength(207);
  });
});
