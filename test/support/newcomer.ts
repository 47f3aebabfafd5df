/** An etcd that is to join a cluster of a test: its addresses exist before it runs, as a machine's do before its member is added. */
import { join } from 'node:path';
import { program } from '../../tools/programs.ts';
import type { Cluster } from './cluster.ts';
import { startMember, type Member } from './member.ts';
import { freePorts } from './processes.ts';
import { removeFolder, temporaryFolder } from './watchdog.ts';

export interface Newcomer {
  readonly name: string;
  readonly peerUrl: string;
  readonly clientUrl: string;
  readonly dataDir: string;
  /** Runs it with these flags besides its addresses, as `member add` prints them. */
  start(flags: readonly string[]): Member;
  stop(): Promise<void>;
}

export async function newcomer(cluster: Pick<Cluster, 'minor'>, name: string): Promise<Newcomer> {
  const folder = temporaryFolder('newcomer');
  const [client, peer, metrics] = (await freePorts(3)) as [number, number, number];
  const listen = { client: `http://127.0.0.1:${client}`, peer: `http://127.0.0.1:${peer}` };
  const dataDir = join(folder, name);
  let member: Member | undefined;
  return {
    name,
    peerUrl: listen.peer,
    clientUrl: listen.client,
    dataDir,
    start(flags) {
      member = startMember({
        program: program('etcd', cluster.minor),
        name,
        endpoint: listen.client,
        peer: listen.peer,
        listen,
        metrics: `http://127.0.0.1:${metrics}`,
        dataDir,
        flags: [...flags, ...(cluster.minor === '3.4' ? [] : ['--unsafe-no-fsync'])],
        token: () => undefined,
      });
      return member;
    },
    async stop() {
      await member?.kill('SIGKILL');
      member?.rpc.close();
      removeFolder(folder);
    },
  };
}
