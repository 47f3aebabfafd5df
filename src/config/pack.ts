/**
 * A configuration for a child process: JSON over the IPC channel, secrets resolved, so that the child needs neither our environment nor our
 * credentials directory. Never written to a file, never put into argv.
 */
import type { Config, Secret } from './types.ts';

/** Key that no option has; a packed secret is a map with this one key. */
const MARK = '$secret';

/** @throws WardenError when a secret can no longer be read. */
export function packConfig(config: Config): string {
  return JSON.stringify(config, (_key, value: unknown) =>
    isSecret(value) ? { [MARK]: { origin: value.origin, value: value.read() } } : value,
  );
}

export function unpackConfig(packed: string): Config {
  return JSON.parse(packed, (_key, value: unknown) => {
    const secret = (value as Record<string, { origin: string; value: string }> | null)?.[MARK];
    return typeof value === 'object' && secret !== undefined ? frozenSecret(secret.origin, secret.value) : value;
  }) as Config;
}

/** Its value is in a closure: neither JSON nor a log of the object shows it. */
function frozenSecret(origin: string, value: string): Secret {
  return { origin, read: () => value };
}

function isSecret(value: unknown): value is Secret {
  return typeof value === 'object' && value !== null && 'read' in value && typeof value.read === 'function';
}
