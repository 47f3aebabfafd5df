import { readManifest } from './setup/manifest.cjs';

/** The minor versions of etcd that the tests run against, oldest first. */
export const ETCD_MINORS = ['3.4', '3.5', '3.6', '3.7'] as const;
export type EtcdMinor = (typeof ETCD_MINORS)[number];

export type EtcdCommand = 'etcd' | 'etcdctl' | 'etcdutl';
export type OtherCommand = 'versitygw' | 'age' | 'age-keygen' | 'bbolt' | 'zstd' | 'systemd-analyze' | 'strace' | 'aws';

// Which entry of setup's table brings a command, where the two differ in name.
const BRINGS: Partial<Record<OtherCommand, string>> = { 'age-keygen': 'age' };

/** The path of a real program that setup found or built. */
export function program(command: EtcdCommand, minor: EtcdMinor): string;
export function program(command: OtherCommand): string;
export function program(command: EtcdCommand | OtherCommand, minor?: EtcdMinor): string {
  const name = minor === undefined ? (BRINGS[command as OtherCommand] ?? command) : `etcd-${minor}`;
  const path = readManifest()[name]?.paths[command];
  if (path !== undefined) return path;
  if (minor === '3.4' && command === 'etcdutl') throw new Error('etcd 3.4 has no etcdutl; its etcdctl does that work');
  throw new Error(
    `${command}${minor === undefined ? '' : ` ${minor}`} is not set up; run: node tools/setup.cjs ${command === 'aws' ? 'bench' : 'test'}`,
  );
}

/** One etcd to show things with, whichever setup found or built: its version, the server and its command line. */
export function anyEtcd(): { version: string; etcd: string; etcdctl: string } {
  const programs = readManifest();
  for (const name of ['etcd-3.6', 'etcd-3.7', 'etcd-3.5', 'etcd-any', 'etcd-3.4']) {
    const found = programs[name];
    const etcd = found?.paths['etcd'];
    const etcdctl = found?.paths['etcdctl'];
    if (found !== undefined && etcd !== undefined && etcdctl !== undefined) return { version: found.version, etcd, etcdctl };
  }
  throw new Error('no etcd is set up; run: node tools/setup.cjs demo');
}
