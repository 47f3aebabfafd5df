import { isImported, type Backup, type Catalog } from '../../catalog/types.ts';
import { findBackup } from '../../catalog/find.ts';
import { formatBytes } from '../../config/units.ts';
import { ERRORS, errorDetails, WardenError, type ErrorDetails } from '../../errors.ts';
import { isFileReference } from '../../inspect/open.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { identityFor } from '../../jobs/identity.ts';
import type { VerifyLevel } from '../../jobs/reread.ts';
import type { VerifiedFile } from '../../jobs/verify-file.ts';
import { verifyCopy, type VerifyLine } from '../../jobs/verify.ts';
import type { Store } from '../../store/types.ts';
import { printable, renderTable, type Column } from '../output/table.ts';
import { clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options, context, output, loaded } = invocation;
  const asked = levelOf(options['level']);
  const [reference] = invocation.arguments;
  if ([reference, options['latest'], options['all']].filter((choice) => choice !== undefined).length > 1)
    throw new WardenError('usage', 'an id, --latest and --all exclude each other', { hint: 'without any of them it is the newest backup' });
  if (reference !== undefined && isFileReference(reference)) return verifyPlainFile(reference, invocation, asked);
  return withReadStores(invocation, async (all) => {
    const stores = options['store'] === undefined ? all : all.filter((store) => store.name === options['store']);
    if (stores.length === 0)
      throw new WardenError('usage', `there is no store named ${String(options['store'])}`, {
        hint: `there are: ${all.map((store) => store.name).join(', ')}`,
      });
    const cluster = await readCluster(invocation, all);
    const identities = await identityFor(clusterSettings(loaded, cluster));
    const catalog = await loadCatalog(stores, cluster, context.signal);
    const lines: Line[] = [];
    for (const store of stores) {
      const here = catalog.backups.filter((backup) =>
        backup.copies.some((copy) => copy.store === store.name && copy.manifest === 'present'),
      );
      for (const backup of chosen(reference, catalog, here)) {
        const line = await verifyCopy(backup, store, asked ?? 'proved', identities, context);
        lines.push(options['repairIndex'] === true ? { ...line, index: await repaired(backup, line, store, identities, context) } : line);
      }
    }
    if (lines.length === 0)
      throw new WardenError('nothing-found', `there is no backup of ${cluster} to verify`, { hint: 'see `etcd-warden list`' });
    return { exitCode: exitCodeOf(lines, asked), json: { cluster, results: lines }, text: renderTable(COLUMNS, lines, output.width) };
  });

  function chosen(id: string | undefined, catalog: Catalog, here: readonly Backup[]): readonly Backup[] {
    if (options['all'] === true) return here;
    // Of what this store holds: a store that missed the last backups is looked at all the same.
    if (id === undefined) return [here.findLast((backup) => !isImported(backup)) ?? here.at(-1)].filter((backup) => backup !== undefined);
    const found = findBackup(catalog, id);
    return here.filter((backup) => backup.id === found.id);
  }
}

type Line = VerifyLine & { readonly index?: Repaired };

interface Repaired {
  readonly outcome: 'built' | 'failed' | 'skipped';
  readonly error?: ErrorDetails;
}

/** Out of a copy that is sound: an index of anything else would answer for what was never in the cluster. */
async function repaired(
  backup: Backup,
  { outcome }: VerifyLine,
  store: Store,
  identities: readonly string[] | undefined,
  context: Invocation['context'],
): Promise<Repaired> {
  if (outcome !== 'ok') return { outcome: 'skipped' };
  try {
    const { repairIndex } = await import('../../jobs/index.ts');
    await repairIndex(backup, store, identities, context);
    return { outcome: 'built' };
  } catch (error) {
    context.signal.throwIfAborted();
    return { outcome: 'failed', error: errorDetails(error) };
  }
}

const LEVELS = ['stored', 'content', 'proved'] as const;

function levelOf(value: unknown): VerifyLevel | undefined {
  if (value === undefined) return undefined;
  const level = LEVELS.find((each) => each === value);
  if (level === undefined) throw new WardenError('usage', `--level ${JSON.stringify(value)} is not known`, { hint: LEVELS.join(', ') });
  return level;
}

/** A level that was asked for and could not be reached, for want of a key or of a member's hash, is not a success; nor is a key that opens nothing. */
function exitCodeOf(lines: readonly Line[], asked: VerifyLevel | undefined): number {
  if (lines.some((line) => line.outcome === 'failed')) return 13;
  if (lines.some((line) => line.code === 'key-missing' || (asked !== undefined && asked !== 'stored' && line.level === 'stored')))
    return 12;
  const broken = lines.find(({ index }) => index?.error !== undefined)?.index?.error;
  if (broken !== undefined) return ERRORS[broken.code].exit;
  return lines.some((line) => line.outcome === 'inconclusive' || (asked === 'proved' && line.level !== 'proved')) ? 1 : 0;
}

async function verifyPlainFile(
  path: string,
  { loaded, options, context, output }: Invocation,
  asked: VerifyLevel | undefined,
): Promise<Answer> {
  for (const [name, given] of [
    ['--store', options['store']],
    ['--repair-index', options['repairIndex']],
  ]) {
    if (given !== undefined)
      throw new WardenError('usage', `${String(name)} does not go with a file`, { hint: `etcd-warden verify ${path}` });
  }
  const [settings] = Object.values(loaded.config.clusters);
  const cluster = loaded.selected.cluster === undefined ? settings : loaded.config.clusters[loaded.selected.cluster];
  const { verifyFile } = await import('../../jobs/verify-file.ts');
  const found = await verifyFile(path, await identityFor(cluster), context);
  const short = asked === 'proved' ? 1 : 0;
  const result = short === 0 || found.outcome === 'failed' ? found : withoutProof(found);
  const text = [renderTable(FILE_COLUMNS, [result], output.width), ...contentsText(result)].join('\n');
  return { exitCode: result.outcome === 'failed' ? 13 : short, json: result, text };
}

function withoutProof(found: VerifiedFile): VerifiedFile {
  const reason = "no level above content: with a file no member's hash is recorded to compare with";
  return { ...found, reason: [found.reason, reason].filter((part) => part !== undefined).join('; '), code: 'unproved' };
}

/** What a cluster restored from it would have beside its keys. */
function contentsText({ contents }: VerifiedFile): string[] {
  if (contents === undefined) return [];
  const { storageVersion, members, leaseCount, authEnabled, users, roles } = contents;
  const names = (list: readonly string[]): string => (list.length === 0 ? 'none' : list.map(printable).join(', '));
  return [
    '',
    `members: ${names(members)}`,
    `leases: ${leaseCount}`,
    `authentication: ${authEnabled ? 'on' : 'off'}; users: ${names(users)}; roles: ${names(roles)}`,
    ...(storageVersion === null ? [] : [`storage version: ${printable(storageVersion)}`]),
  ];
}

const COLUMNS: readonly Column<Line>[] = [
  { title: 'ID', value: (line) => line.id },
  { title: 'STORE', value: (line) => line.store },
  { title: 'LEVEL', value: (line) => line.level },
  { title: 'RESULT', value: (line) => line.outcome },
  { title: 'SIZE', align: 'right', value: (line) => formatBytes(line.bytes) },
  { title: 'KEYS', align: 'right', spare: 1, value: (line) => (line.keyCount === undefined ? '' : String(line.keyCount)) },
  { title: 'INDEX', value: (line) => line.index?.outcome ?? '' },
  { title: 'WHY', wrap: true, value: (line) => [line.reason, line.index?.error?.message].filter((part) => part !== undefined).join('; ') },
];

const FILE_COLUMNS: readonly Column<VerifiedFile>[] = [
  { title: 'FILE', value: ({ file }) => file },
  { title: 'LEVEL', value: ({ level }) => level },
  { title: 'RESULT', value: ({ outcome }) => outcome },
  { title: 'SIZE', align: 'right', value: ({ bytes }) => (bytes === undefined ? '' : formatBytes(bytes)) },
  { title: 'KEYS', align: 'right', value: ({ keyCount }) => (keyCount === undefined ? '' : String(keyCount)) },
  { title: 'REVISION', align: 'right', value: ({ revision }) => revision ?? '' },
  { title: 'COMPACTED', align: 'right', value: ({ compactRevision }) => compactRevision ?? '' },
  { title: 'HASHKV', align: 'right', value: ({ hash }) => (hash === undefined ? '' : String(hash)) },
  { title: 'WHY', wrap: true, value: ({ reason }) => reason ?? '' },
];
