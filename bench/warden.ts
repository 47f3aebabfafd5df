import { join } from 'node:path';
import type { Gateway } from '../test/support/gateway.ts';
import { measure, type Run } from './measure.ts';

/** The compiled executable, run as it is after an installation. */
export const EXECUTABLE = join(import.meta.dirname, 'installed.cjs');

export interface BackupOptions {
  readonly endpoint: string;
  /** A folder, or s3://bucket/prefix. */
  readonly to: string;
  readonly gateway?: Gateway;
  /** An age recipient. */
  readonly recipient?: string;
  /** With the key index, which follows the backup. */
  readonly index?: boolean;
}

/** One `etcd-warden backup`, from the start of the process to its end. */
export async function measureBackup({ endpoint, to, gateway, recipient, index = false }: BackupOptions): Promise<Run> {
  const flags = ['--endpoints', endpoint, '--to', to, '--json', '--quiet'];
  if (gateway !== undefined) flags.push('--s3-endpoint', gateway.endpoint, '--s3-region', gateway.region);
  if (recipient !== undefined) flags.push('--recipients', recipient);
  if (!index) flags.push('--no-index');
  const run = await measure(process.execPath, [EXECUTABLE, 'backup', ...flags], gateway === undefined ? {} : awsEnvironment(gateway));
  const { outcome } = JSON.parse(run.stdout) as { outcome: string };
  if (outcome !== 'complete') throw new Error(`the backup is ${outcome}:\n${run.stdout}`);
  return run;
}

export function awsEnvironment(gateway: Gateway): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: gateway.accessKey,
    AWS_SECRET_ACCESS_KEY: gateway.secretKey,
    AWS_DEFAULT_REGION: gateway.region,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
}
