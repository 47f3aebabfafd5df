/**
 * Addresses of members: how a configured one is read, and which advertised ones may be dialled at all. An advertised address comes from
 * whoever may change the member list, so it decides neither where credentials go nor under which scheme.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { WardenError } from '../errors.ts';

export interface Endpoint {
  /** `http://host:port` or `https://host:port`, the name of this endpoint everywhere. */
  readonly url: string;
  readonly secure: boolean;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

const DEFAULT_PORT = 2379;

/**
 * @param secureByDefault what an address without scheme means: https when a CA or a client certificate is configured, else http.
 * @throws WardenError `config-invalid`
 */
export function parseEndpoint(address: string, secureByDefault: boolean): Endpoint {
  const trimmed = address.trim();
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed) ? trimmed : `${secureByDefault ? 'https' : 'http'}://${trimmed}`;
  let url: URL;
  try {
    url = new URL(withScheme);
  } catch (error) {
    throw invalid(address, 'is not an address', error);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw invalid(address, `has the scheme ${url.protocol}//, not http:// or https://`);
  if (url.username !== '' || url.password !== '') throw invalid(url.host, 'must not carry a user or a password');
  if (url.hostname === '') throw invalid(address, 'names no host');
  if ((url.pathname !== '/' && url.pathname !== '') || url.search !== '' || url.hash !== '')
    throw invalid(address, 'must end after the port');
  const secure = url.protocol === 'https:';
  // URL drops 80 and 443 as the defaults of their schemes, so that they are told from "no port" by the text alone.
  const port = url.port !== '' ? Number(url.port) : /:(80|443)\/?$/.test(withScheme) ? (secure ? 443 : 80) : DEFAULT_PORT;
  return { url: `${url.protocol}//${url.hostname}:${port}`, secure, host: url.hostname.replace(/^\[|\]$/g, ''), port };
}

/** Target and authority as gRPC wants them. */
export function hostAndPort(endpoint: Endpoint): string {
  return `${isIPv6(endpoint.host) ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
}

export function isLoopback(endpoint: Endpoint): boolean {
  const { host } = endpoint;
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    host === '::1' ||
    (isIPv4(host) && host.startsWith('127.')) ||
    host.startsWith('::ffff:7f')
  );
}

function isUnspecified(endpoint: Endpoint): boolean {
  return endpoint.host === '0.0.0.0' || endpoint.host === '::' || endpoint.host === '::ffff:0:0';
}

/**
 * Why an address from the member list must not be dialled, or undefined when it may. Members advertise what their operator typed, and the
 * default is `http://localhost:2379`: from anywhere but the same machine that names another process than the one meant.
 */
export function whyNotDial(advertised: Endpoint, configured: readonly Endpoint[]): string | undefined {
  if (isUnspecified(advertised)) return 'it names no machine';
  if (isLoopback(advertised) && !configured.some(isLoopback)) return 'it is a loopback address of another machine';
  if (!configured.some((one) => one.secure === advertised.secure))
    return `its scheme is not the configured ${configured[0]?.secure ? 'https' : 'http'}`;
  if (!advertised.secure && configured.some((one) => one.secure)) return 'nothing is said over http where any configured endpoint is https';
  return undefined;
}

function invalid(address: string, what: string, cause?: unknown): WardenError {
  return new WardenError('config-invalid', `endpoint ${JSON.stringify(address)} ${what}`, {
    hint: 'endpoints look like https://10.0.0.1:2379 or etcd-0.example:2379',
    cause,
  });
}
