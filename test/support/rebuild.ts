/** Restores from a plain snapshot, as somebody with a file and no store would do it. */
import { tmpdir } from 'node:os';
import { program, type EtcdMinor } from '../../tools/programs.ts';
import type { Config } from '../../src/config/types.ts';
import { MemberClient } from '../../src/etcd/member.ts';
import type { MemberHash } from '../../src/etcd/types.ts';
import { sourceOfFile } from '../../src/jobs/restore/source.ts';
import { buildMembers } from '../../src/restore/build.ts';
import { deriveToken, newCluster, parseInitialCluster } from '../../src/restore/identity.ts';
import type { Builder, BuildResult, Content, RestoreContext } from '../../src/restore/types.ts';
import { silentLogger } from '../../src/telemetry/logger.ts';
import { initialClusterOf, type Site } from './restored.ts';

export const WHOLE: Content = { revision: undefined, only: [], without: [], defragmented: false, bump: 'none' };

export interface Rebuilding {
  readonly file: string;
  readonly minor: EtcdMinor;
  /** All members of the new cluster. */
  readonly sites: readonly Site[];
  /** Those that are made by this call; all when not given. */
  readonly make?: readonly Site[];
  readonly builder?: Builder;
  readonly content?: Partial<Content>;
  readonly attempt?: number;
}

export async function rebuild({
  file,
  minor,
  sites,
  make = sites,
  builder = 'native',
  content: wish = {},
  attempt = 1,
}: Rebuilding): Promise<BuildResult> {
  const { signal } = new AbortController();
  const context: RestoreContext = { logger: silentLogger, signal, progress: () => {}, now: () => new Date() };
  // Nothing else of the configuration is looked at.
  const config = { stateDir: tmpdir() } as Config;
  const content = { ...WHOLE, ...wish };
  const source = await sourceOfFile(file, undefined, { ...context, config });
  try {
    const initialCluster = parseInitialCluster(initialClusterOf(sites));
    return await buildMembers(
      {
        source,
        cluster: newCluster(initialCluster, deriveToken({ identity: source.identity, initialCluster, attempt, content })),
        targets: make.map((site) => ({ member: site.name, dataDir: site.dataDir, walDir: undefined })),
        content,
        minor,
        builder,
        etcdutl: program(minor === '3.4' ? 'etcdctl' : 'etcdutl', minor),
        replace: false,
        owner: undefined,
        acceptSuspect: false,
        attempt,
        scratchFolder: tmpdir(),
      },
      context,
    );
  } finally {
    await source.close();
  }
}

/** HashKV of one member at a revision; 0n = its newest. */
export async function hashAt(
  endpoint: string,
  revision: bigint,
  login?: { readonly user: string; readonly password: string },
): Promise<MemberHash> {
  const client = new MemberClient(
    {
      name: 'hash',
      endpoints: [endpoint],
      ...(login === undefined ? {} : { user: login.user, password: () => login.password }),
      requestTimeoutMs: 5_000,
      dialTimeoutMs: 5_000,
      streamIdleTimeoutMs: 5_000,
      discover: false,
    },
    endpoint,
  );
  try {
    return await client.hashKv(revision, { timeoutMs: 10_000 });
  } finally {
    client.close();
  }
}
