/** The entries of the top level to its part of the configuration. */
import { getter, isLoopback, missing, readable, together, type BuildContext, type Entries } from './entries.ts';
import { resolveSecret } from './secret.ts';
import type { Config } from './types.ts';

export function buildDaemon(entries: Entries, context: BuildContext): Omit<Config, 'file' | 'clusters' | 'stores'> {
  const get = getter(entries);
  const listen = (path: string): string | undefined => (get<string>(path) === 'off' ? undefined : get<string>(path));
  const api = {
    listen: listen('api.listen'),
    token: resolveSecret({ entries, path: 'api.token', credentials: ['api-token'], judge: judgeToken }, context),
    certFile: get<string>('api.certFile'),
    keyFile: get<string>('api.keyFile'),
    hosts: get<readonly string[]>('api.hosts') ?? [],
  };
  together(entries, ['api.certFile', 'api.keyFile'], context);
  readable(entries, ['api.certFile', 'api.keyFile'], context);
  if (api.listen !== undefined) {
    if (api.token === undefined) missing(entries, 'api.listen', 'api.tokenFile beside it: whoever reaches the API starts backups', context);
    if (!isLoopback(api.listen) && api.certFile === undefined)
      missing(entries, 'api.listen', 'a loopback address, or api.certFile and api.keyFile beside it', context);
    if (api.listen === get<string>('http.listen') && !api.listen.endsWith(':0'))
      missing(entries, 'api.listen', 'another address than http.listen', context);
  }
  return {
    stateDir: get<string>('stateDir') ?? '',
    log: { level: get<'info'>('log.level') ?? 'info', format: get<'auto'>('log.format') ?? 'auto' },
    http: { listen: listen('http.listen') },
    api,
    daemon: {
      graceMs: get<number>('daemon.grace') ?? 0,
      heavyJobs: get<number>('daemon.heavyJobs') ?? 1,
      sweepAgeMs: get<number>('daemon.sweepAge') ?? 0,
    },
  };
}

function judgeToken(text: string): string | undefined {
  return /^[\x21-\x7e]{16,1024}$/.test(text)
    ? undefined
    : 'a token of 16 to 1024 plain letters without spaces (`openssl rand -hex 32` makes one)';
}
