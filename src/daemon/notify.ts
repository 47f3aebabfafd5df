/**
 * Talks to systemd through the command `systemd-notify`: Node has no datagram sockets of the AF_UNIX family, and a native addon would end
 * the promise of one executable. The unit therefore says NotifyAccess=all: the message comes from a child's pid (sd_notify(3)).
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { asError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';

export interface Notifier {
  readonly active: boolean;
  /** How often systemd wants a sign of life, ms; undefined = never. */
  readonly watchdogMs: number | undefined;
  /** Assignments like `READY=1`. Never rejects: a daemon that cannot report goes on working. */
  send(...assignments: readonly string[]): Promise<void>;
}

const COMMAND_MS = 5_000;

export function systemdNotifier(environment: NodeJS.ProcessEnv, logger: Logger, command = 'systemd-notify'): Notifier {
  const socket = environment['NOTIFY_SOCKET'];
  const active = socket !== undefined && socket !== '';
  let complained = false;
  return {
    active,
    watchdogMs: active ? watchdogMs(environment) : undefined,
    async send(...assignments) {
      if (!active) return;
      try {
        await promisify(execFile)(command, [...assignments], {
          timeout: COMMAND_MS,
          env: { PATH: environment['PATH'], NOTIFY_SOCKET: socket },
        });
      } catch (error) {
        if (!complained) logger.warn({ error: asError(error) }, 'systemd cannot be notified; is systemd-notify installed?');
        complained = true;
      }
    },
  };
}

/** A reload as systemd wants it told: with the monotonic time at which it began (sd_notify(3)). */
export function reloadingNow(): readonly string[] {
  return ['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`];
}

/** A status line must stay one line, and `systemctl status` shows no more than this. */
export function statusLine(text: string): string {
  return `STATUS=${text.replace(/\s+/g, ' ').slice(0, 200)}`;
}

function watchdogMs(environment: NodeJS.ProcessEnv): number | undefined {
  const microseconds = Number(environment['WATCHDOG_USEC'] ?? '');
  const pid = environment['WATCHDOG_PID'];
  const meant = pid === undefined || pid === '' || pid === String(process.pid);
  return meant && Number.isFinite(microseconds) && microseconds > 0 ? microseconds / 1000 : undefined;
}
