/** Opens the two listeners of a daemon. They share nothing: who may read metrics need not be able to reach the API. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/types.ts';
import { asError, WardenError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import { isLoopback, parseAddress } from './address.ts';
import { listen, type Listener } from './listener.ts';
import { acceptedHosts, apiRoutes, probeRoutes } from './routes.ts';
import type { ApiSource, ProbeSource } from './types.ts';

export interface Listeners {
  readonly probes: Listener | undefined;
  readonly api: Listener | undefined;
  /** Reads the API's certificate again; a bad one is refused and the old one stays. */
  reloadTls(): void;
  close(): Promise<void>;
}

/**
 * @throws WardenError `config-invalid` when the API would be open to a network without TLS and a token
 * @throws WardenError `address-unusable`
 */
export async function openListeners(
  config: Pick<Config, 'http' | 'api'>,
  sources: { probes: ProbeSource; api: ApiSource },
  logger: Logger,
): Promise<Listeners> {
  checkApi(config.api);
  const probes =
    config.http.listen === undefined
      ? undefined
      : await listen({
          address: parseAddress(config.http.listen, 'http.listen'),
          option: 'http.listen',
          handler: probeRoutes(sources.probes),
          logger,
        });
  try {
    const api = await openApi(config.api, sources.api, logger);
    return {
      probes,
      api,
      reloadTls() {
        try {
          const tls = tlsOf(config.api);
          if (tls !== undefined) api?.setTls(tls);
        } catch (error) {
          logger.error({ error: asError(error) }, 'the new certificate of the API cannot be used; the old one stays');
        }
      },
      async close() {
        await Promise.all([probes?.close(), api?.close()]);
      },
    };
  } catch (error) {
    await probes?.close();
    throw error;
  }
}

async function openApi(api: Config['api'], source: ApiSource, logger: Logger): Promise<Listener | undefined> {
  if (api.listen === undefined) return undefined;
  const address = parseAddress(api.listen, 'api.listen');
  const token = (): string | undefined => {
    try {
      return api.token?.read();
    } catch (error) {
      logger.error({ error: asError(error) }, 'the token of the API cannot be read; every call is refused');
      return undefined;
    }
  };
  const handler = apiRoutes({ source, token, hosts: acceptedHosts(address.host, api.hosts) });
  return listen({ address, option: 'api.listen', handler, logger, tls: tlsOf(api) });
}

/** Checked again here and not only when the configuration is read: this is the place that would open the door. */
export function checkApi(api: Config['api']): void {
  if (api.listen === undefined) return;
  const { host } = parseAddress(api.listen, 'api.listen');
  if (api.token === undefined) {
    throw new WardenError('config-invalid', `api.listen: the API needs a token`, {
      hint: 'put a random one into a file that only the daemon can read, and name it with api.tokenFile',
    });
  }
  if ((api.certFile === undefined) !== (api.keyFile === undefined))
    throw new WardenError('config-invalid', 'api: certificate and key belong together; one is missing');
  if (!isLoopback(host) && api.certFile === undefined) {
    throw new WardenError('config-invalid', `api.listen: ${host === '' ? 'every address' : host} is open to the network, which needs TLS`, {
      hint: 'set api.certFile and api.keyFile, or listen on 127.0.0.1',
    });
  }
}

function tlsOf(api: Config['api']): { cert: string; key: string } | undefined {
  if (api.certFile === undefined || api.keyFile === undefined) return undefined;
  try {
    return { cert: readFileSync(api.certFile, 'utf8'), key: readFileSync(api.keyFile, 'utf8') };
  } catch (error) {
    throw new WardenError('config-invalid', `api: ${asError(error).message}`, { cause: error });
  }
}
