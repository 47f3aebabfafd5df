/** The unit of systemd that starts etcd, and where it puts its data, as far as files tell: systemd itself may be down in a rescue. */
import { glob, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where etcd keeps its data and its log; absent where that cannot be read. */
export interface Places {
  readonly dataDir?: string;
  readonly walDir?: string;
}

export interface EtcdUnit extends Places {
  /** Without `.service`. */
  readonly name: string;
  /** Below the root, without a leading slash. */
  readonly folder: string;
}

/** Later ones override earlier ones. */
const UNIT_FOLDERS = ['lib/systemd/system', 'usr/lib/systemd/system', 'etc/systemd/system', 'run/systemd/system'];
const SETTINGS = [
  ['dataDir', 'data-dir', 'ETCD_DATA_DIR'],
  ['walDir', 'wal-dir', 'ETCD_WAL_DIR'],
] as const;
/** Between a flag and what it is set to: a unit may be laid out over several lines. */
const VALUE = '(?:=|(?:[ \\t]|\\\\\\n)+)';

/** @returns undefined where no unit of etcd is, or only a masked one */
export async function findEtcdUnit(root: string): Promise<EtcdUnit | undefined> {
  let found: { name: string; folder: string; content: string } | undefined;
  for (const folder of UNIT_FOLDERS) {
    for (const file of await namesIn(join(root, folder))) {
      const name = /^(etcd(?:[-_]?(?:member|server|main|\d+))?)\.service$/u.exec(file)?.[1];
      if (name === undefined) continue;
      const content = await textOf(join(root, folder, file));
      if (content === undefined) continue;
      // A mask is a link to /dev/null, which reads as nothing, and hides the unit of that name in the folders before.
      if (content.trim() !== '') found = { name, folder, content };
      else if (found?.name === name) found = undefined;
    }
  }
  if (found === undefined) return undefined;
  const { name, folder, content } = found;
  return { name, folder, ...(await placesOf(root, name, [content, ...(await dropInsOf(root, name))].join('\n'))) };
}

/** Of a manifest or a unit: the flag goes first, as etcd has it; of several the last counts. Nothing where a variable stands. */
export function placesIn(content: string): Places {
  const lines = withoutComments(content);
  const places: { dataDir?: string; walDir?: string } = {};
  for (const [field, flag, variable] of SETTINGS) {
    const place = lastPath(lines, `--?${flag}${VALUE}`) ?? lastPath(lines, `\\b${variable}=`);
    if (place !== undefined) places[field] = place;
  }
  return places;
}

/** With a configuration file etcd reads neither flags nor environment; files of the environment override what stands in the unit. */
async function placesOf(root: string, name: string, unit: string): Promise<Places> {
  const lines = withoutComments(unit);
  const configFile = lastPath(lines, `--?config-file${VALUE}`) ?? lastPath(lines, '\\bETCD_CONFIG_FILE=');
  if (configFile !== undefined) {
    const config = withoutComments((await textOf(join(root, configFile))) ?? '');
    return placesIn(config.replaceAll(/^[ \t]*((?:data|wal)-dir):[ \t]+/gmu, '--$1='));
  }
  const files = await Promise.all(environmentFiles(lines, name).map((path) => matching(root, path)));
  const texts = await Promise.all(files.flat().map(async (path) => (await textOf(path)) ?? ''));
  return placesIn([lines, ...texts].join('\n'));
}

/** Of all folders in the order of their names; one of the same name overrides that in a folder before. */
async function dropInsOf(root: string, name: string): Promise<string[]> {
  const files = new Map<string, string>();
  for (const folder of UNIT_FOLDERS) {
    const dropIns = join(root, folder, `${name}.service.d`);
    for (const file of await namesIn(dropIns)) if (file.endsWith('.conf')) files.set(file, join(dropIns, file));
  }
  const sorted = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Promise.all(sorted.map(async ([, path]) => (await textOf(path)) ?? ''));
}

/** An empty one forgets those before, systemd.exec(5). */
function environmentFiles(lines: string, name: string): string[] {
  const all = [...lines.matchAll(/^[ \t]*EnvironmentFile[ \t]*=[ \t]*-?(\S*)/gmu)].map(([, path = '']) => path);
  return all.slice(all.lastIndexOf('') + 1).map((path) => path.replaceAll(/%[pN]/gu, name).replaceAll('%n', `${name}.service`));
}

/** systemd takes patterns there. */
async function matching(root: string, path: string): Promise<string[]> {
  if (!/[*?[]/u.test(path)) return [join(root, path)];
  return (await Array.fromAsync(glob(join(root, path)))).toSorted();
}

function withoutComments(content: string): string {
  return content.replaceAll(/^[ \t]*[#;].*$/gmu, '');
}

function lastPath(content: string, before: string): string | undefined {
  return [...content.matchAll(new RegExp(`(?:${before})["']?(/[^\\s"'$%]+)(?![^\\s"'])`, 'gu'))].at(-1)?.[1];
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder).catch((): string[] => [])).toSorted();
}

/** Undefined when it is not there or may not be read. */
async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
