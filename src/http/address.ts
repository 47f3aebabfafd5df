/** `host:port` as the configuration writes it. */
import { isIP } from 'node:net';
import { WardenError } from '../errors.ts';

export interface Address {
  /** Empty = every address of the machine. */
  readonly host: string;
  readonly port: number;
}

/** @throws WardenError `config-invalid` */
export function parseAddress(text: string, option: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new WardenError('config-invalid', `${option}: ${JSON.stringify(text)} is not host:port`, {
      hint: 'for example 127.0.0.1:9378 or [::1]:9378',
    });
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** The host of a Host header, without its port; undefined when it is not one. */
export function hostOf(header: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?$/.exec(header ?? '');
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}
