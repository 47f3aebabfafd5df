/** What a plan is made from, out of a prepared restore and the words that asked for it. */
import { resolve } from 'node:path';
import { flagOptions } from '../config/flags.ts';
import { dataKey, manifestKey } from '../format/keys.ts';
import type { PreparedRestore, RestoreInputs, RestoreOrder } from '../jobs/restore/prepare.ts';
import type { PlanInput, PlanSource, PlanStore } from '../restore/plan/types.ts';
import type { Store } from '../store/types.ts';
import type { Invocation } from './verb.ts';

/** Flags of a cluster that open its backups, and those that let its etcd be asked. */
const OPENING = ['identity-file'];
const REACHING = ['cacert', 'cert', 'key', 'tls-server-name', 'insecure-skip-tls-verify', 'user', 'password-file'];

export function planInput(
  { options, context }: Pick<Invocation, 'options' | 'context'>,
  order: RestoreOrder,
  prepared: PreparedRestore,
  inputs: RestoreInputs,
): PlanInput {
  const { request, minor, builder, platform, everyTarget } = prepared;
  const call = flagOptions('call').map(({ name }) => name);
  const places = { folder: order.folder, stores: inputs.stores };
  const chosen = call.filter((name) => name === 'config' || name === 'cluster');
  return {
    time: context.now().toISOString(),
    source: planSource(order, prepared, inputs),
    cluster: request.cluster,
    tokenGiven: order.token !== undefined,
    attempt: order.attempt,
    content: request.content,
    minor: minor.minor,
    minorReason: minor.reason,
    builder: { name: builder.name, reason: builder.reason },
    builderAsked: order.builder,
    platform: platform.platform,
    platformReason: platform.reason,
    unit: platform.unit,
    targets: everyTarget.map(({ member, dataDir, walDir, here, occupied }) => ({
      member,
      dataDir,
      walDir,
      // That its peer URL is not this machine's says nothing where names are not looked up alike everywhere.
      here: here ? true : everyTarget.some((each) => each.here) ? false : undefined,
      occupied,
      clientUrls: undefined,
    })),
    endpoints: inputs.access?.endpoints ?? [],
    owner: order.owner,
    acceptSuspect: order.acceptSuspect,
    sourceFlags: [
      ...givenFlags(options, 'call', call, places),
      ...givenFlags(
        options,
        'store',
        flagOptions('store').map(({ name }) => name),
        places,
      ),
      ...givenFlags(options, 'cluster', OPENING, places),
    ],
    accessFlags: [...givenFlags(options, 'call', chosen, places), ...givenFlags(options, 'cluster', REACHING, places)],
  };
}

function planSource(order: RestoreOrder, { request, chosen, seen }: PreparedRestore, { stores }: RestoreInputs): PlanSource {
  const { source } = request;
  const { backup } = source;
  const common = {
    databaseBytes: source.databaseBytes,
    kubernetes: source.kubernetes,
    auth: seen?.auth,
    alarms: [...new Set(seen?.head.alarms.map(({ type }) => type))],
    encrypted: source.encrypted,
    askedTime: chosen?.asked?.time,
  };
  if (backup === undefined)
    return {
      ...common,
      kind: 'file',
      name: resolve(order.folder, source.name),
      time: undefined,
      cluster: undefined,
      revision: seen === undefined ? undefined : String(seen.head.revision),
      compactRevision: seen === undefined ? undefined : String(seen.head.compactRevision),
      storedBytes: undefined,
      etcdVersion: undefined,
      suspect: undefined,
      stores: [],
    };
  const { id, cluster, manifest } = backup;
  const holders = stores.filter(({ name }) =>
    backup.copies.some((copy) => copy.store === name && copy.manifest === 'present' && copy.data === 'present'),
  );
  return {
    ...common,
    kind: 'backup',
    name: id,
    time: manifest.time,
    cluster,
    revision: manifest.revision,
    compactRevision: manifest.compactRevision,
    storedBytes: manifest.stored.bytes,
    etcdVersion: manifest.etcdVersion,
    suspect: backup.suspect,
    stores: holders.map(({ name, location, kind }): PlanStore => ({
      name,
      address: location,
      local: kind === 'local',
      objects: [dataKey(cluster, id, manifest.stored.encryption), manifestKey(cluster, id, manifest.revision)],
    })),
  };
}

/** Those of these flags that were given, as words of a command line that means the same in whatever folder it is pasted. */
export function givenFlags(
  options: Invocation['options'],
  scope: 'call' | 'store' | 'cluster',
  names: readonly string[],
  { folder, stores }: { readonly folder: string; readonly stores: readonly Pick<Store, 'name' | 'kind' | 'location'>[] },
): string[] {
  const whole = (flags: string, text: string): string => {
    const path = resolve(folder, text);
    if (flags.endsWith('<path>')) return path;
    // A bare word is a configured store, else a folder.
    const named = stores.some(({ name }) => name === text);
    return flags.endsWith('<store>') && !named && stores.some(({ kind, location }) => kind === 'local' && location === path) ? path : text;
  };
  return flagOptions(scope).flatMap(({ name, key, flags }) => {
    const value = options[key];
    if (!names.includes(name) || value === undefined) return [];
    if (typeof value === 'boolean') return value === flags.startsWith('--no-') ? [] : [flags];
    return (Array.isArray(value) ? value : [value]).flatMap((each) => [`--${name}`, whole(flags, String(each))]);
  });
}
