/** Builds members in a process of its own, to be killed, or on a disk that only it sees. Its order is the argument, its report the only line that it prints. */
import { readFileSync } from 'node:fs';
import { errorDetails } from '../../../src/errors.ts';
import { buildMembers } from '../../../src/restore/build.ts';
import type { BuildRequest } from '../../../src/restore/types.ts';
import { newCluster, parseInitialCluster } from '../../../src/restore/identity.ts';
import { restoreContext, snapshotSource, WHOLE } from '../../support/database-source.ts';

export interface BuildOrder extends Partial<Pick<BuildRequest, 'minor' | 'builder' | 'etcdutl' | 'replace' | 'owner' | 'content'>> {
  /** Path of the snapshot. */
  readonly snapshot: string;
  readonly initialCluster: string;
  readonly token?: string;
  readonly targets: readonly { readonly member: string; readonly dataDir: string; readonly walDir?: string }[];
  readonly scratchFolder: string;
}

export type BuildReport =
  | { readonly ok: true; readonly kept: readonly string[]; readonly builder: string; readonly reason: string; readonly hash: number }
  | { readonly ok: false; readonly code: string; readonly message: string; readonly hint?: string };

export function requestOf(order: BuildOrder): BuildRequest {
  return {
    source: snapshotSource(readFileSync(order.snapshot)),
    cluster: newCluster(parseInitialCluster(order.initialCluster), order.token ?? 'token'),
    targets: order.targets.map(({ member, dataDir, walDir }) => ({ member, dataDir, walDir })),
    content: order.content ?? WHOLE,
    minor: order.minor ?? '3.6',
    builder: order.builder ?? 'native',
    etcdutl: order.etcdutl,
    replace: order.replace === true,
    owner: order.owner,
    acceptSuspect: false,
    attempt: 1,
    scratchFolder: order.scratchFolder,
  };
}

export async function carryOut(order: BuildOrder): Promise<BuildReport> {
  try {
    const { targets, builder, record } = await buildMembers(requestOf(order), restoreContext());
    return { ok: true, kept: targets.flatMap(({ kept }) => kept), builder: builder.name, reason: builder.reason, hash: record.hash };
  } catch (error) {
    return { ok: false, ...errorDetails(error) };
  }
}

if (import.meta.main) process.stdout.write(JSON.stringify(await carryOut(JSON.parse(process.argv[2]!) as BuildOrder)));
