/** A member's directory made by etcd's own tool of that release: from a plain file with its trailer, in the folder in which the member is built. */
import { chmod, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { diskError } from '../../archive/disk-errors.ts';
import { openFile } from '../../archive/file-access.ts';
import { openBolt } from '../../boltdb/bolt.ts';
import { WardenError } from '../../errors.ts';
import { readHead } from '../../mvcc/head.ts';
import { measureDatabase } from '../database/measure.ts';
import { removeTree } from '../directory/leftovers.ts';
import type { Staging } from '../directory/staging.ts';
import { formatInitialCluster } from '../identity.ts';
import type { BuildRequest, BuiltDatabase, DatabaseSink, NewCluster, Poured, RestoreContext, RestoreSource } from '../types.ts';
import { whyToolCannot } from './choose.ts';
import { runTool } from './program.ts';

/** The whole read showed that the tool cannot do what is asked. */
export interface Unfit {
  readonly unfit: string;
}

/**
 * Writes the database, and nothing else, to `staging.database`: the logs are written natively for every member alike.
 * @param program path of the tool
 * @throws WardenError whatever reading the source throws, `failed` and `timeout` of the tool, and when what it made is not what was asked
 */
export async function buildByTool(
  request: BuildRequest,
  program: string,
  staging: Staging,
  context: RestoreContext,
): Promise<BuiltDatabase | Unfit> {
  const { cluster, source } = request;
  const plain = join(staging.folder, 'snapshot.db');
  const made = join(staging.folder, 'made');
  try {
    const poured = await pourPlain(source, plain, context);
    const cannot = whyToolCannot({
      ...request,
      bump: typeof request.content.bump === 'object',
      alarms: await hasAlarms(plain, context.signal),
    });
    if (cannot !== undefined) return { unfit: cannot };
    context.progress({ step: 'build', message: `running ${program}`, totalBytes: poured.databaseBytes });
    await runTool(program, argumentsOf(cluster, staging.place.target.member, plain, made), {
      bytes: poured.databaseBytes,
      signal: context.signal,
    });
    await rm(plain, { force: true });
    await moveDatabase(join(made, 'member', 'snap', 'db'), staging.database);
    const measured = await measureDatabase(staging.database, cluster, context);
    if (request.content.bump === 'auto' && measured.kubernetes) {
      await rm(staging.database);
      return { unfit: whyToolCannot({ ...request, bump: true, alarms: false }) ?? '' };
    }
    return { ...measured, source: poured, builder: 'etcdutl', raisedFrom: undefined, droppedAlarms: 0, orphanedLeases: 0 };
  } finally {
    await rm(plain, { force: true });
    await removeTree(made);
  }
}

function argumentsOf(cluster: NewCluster, name: string, plain: string, made: string): readonly string[] {
  const peerUrls = cluster.members.find((member) => member.name === name)?.peerUrls ?? [];
  const initialCluster = formatInitialCluster(new Map(cluster.members.map((member) => [member.name, member.peerUrls])));
  const flags = {
    name,
    'data-dir': made,
    'initial-cluster': initialCluster,
    'initial-cluster-token': cluster.token,
    'initial-advertise-peer-urls': peerUrls.join(','),
  };
  return ['snapshot', 'restore', plain, ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)];
}

async function moveDatabase(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
    await chmod(to, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new WardenError('failed', `the tool ended well and made no ${from}`);
    throw await diskError(error, 'take the database of', from, 0);
  }
}

/** The database with its SHA-256 behind it, as the tool wants to compare it: also of a source that has none. */
async function pourPlain(source: RestoreSource, path: string, { signal, progress }: RestoreContext): Promise<Poured> {
  const handle = await open(path, 'wx', 0o600).catch(async (error: unknown) => {
    throw await diskError(error, 'create', path, source.databaseBytes);
  });
  try {
    let length = 0;
    async function append(block: Buffer): Promise<void> {
      try {
        for (let at = 0; at < block.length;) at += (await handle.write(block, at, block.length - at, length + at)).bytesWritten;
      } catch (error) {
        throw await diskError(error, 'write', path, Math.max(0, source.databaseBytes - length));
      }
      length += block.length;
    }
    const sink: DatabaseSink = {
      async write(block) {
        await append(block);
        progress({ step: 'read', bytes: length, totalBytes: source.databaseBytes, subject: source.name });
      },
      async restart() {
        length = 0;
        await handle.truncate(0);
      },
    };
    const poured = await source.pour(sink, signal);
    await append(Buffer.from(poured.databaseSha256, 'hex'));
    return poured;
  } finally {
    await handle.close();
  }
}

async function hasAlarms(path: string, signal: AbortSignal): Promise<boolean> {
  const file = await openFile(path);
  try {
    return (await readHead(await openBolt(file, signal), signal)).alarms.length > 0;
  } finally {
    await file.close();
  }
}

/** For `--builder etcdutl`. */
export function cannotBuild(reason: string): WardenError {
  return new WardenError('refused', `etcd's own tool cannot build this: ${reason}`, {
    hint: '--builder native can; or leave --builder away',
  });
}
