/** For which release of etcd a data directory is built, and whether that release can start on the backup. Pure. */
import { WardenError } from '../../errors.ts';
import type { Head } from '../../mvcc/head.ts';
import { ETCD_MINORS, type EtcdMinor } from '../../restore/types.ts';

export interface VersionFacts {
  /** `--etcd-version` or the configuration's, as it was typed. */
  readonly asked: string | undefined;
  /** Release of the member that the backup was taken of; undefined for a file. */
  readonly backup: string | undefined;
  /** Of a file. */
  readonly head: Pick<Head, 'etcdSchema' | 'storageVersion'> | undefined;
  /** What `etcd --version` of this machine says, when there is one. */
  readonly installed: string | undefined;
}

export interface ChosenMinor {
  readonly minor: EtcdMinor;
  readonly reason: string;
  readonly notes: readonly string[];
}

/**
 * The release asked for, else that of the backup, for nothing has to be migrated then; a file tells only what wrote its schema, so that etcd on this machine has a say.
 * @throws WardenError `usage` for what is no release, `refused` for a release that does not start on it, with the way through
 */
export function chooseMinor({ asked, backup, head, installed }: VersionFacts): ChosenMinor {
  const from = minorOf(backup ?? head?.storageVersion ?? head?.etcdSchema ?? '');
  const here = installed === undefined ? undefined : minorOf(installed);
  if (asked !== undefined) {
    const wanted = minorOf(asked);
    if (wanted === undefined || !isKnown(wanted))
      throw new WardenError('usage', `--etcd-version ${JSON.stringify(asked)} is not a release that data directories can be built for`, {
        hint: `one of ${ETCD_MINORS.join(', ')}`,
      });
    requireStep(from, wanted, backup !== undefined);
    return { minor: wanted, reason: 'it was asked for', notes: from === undefined ? [UNKNOWN] : [] };
  }
  if (from === undefined)
    throw new WardenError('usage', 'nothing tells which release of etcd this is for', { hint: '--etcd-version 3.6, say' });
  if (backup === undefined && here !== undefined && isKnown(here) && isStep(from, here)) {
    const notes = here === from ? [] : [`the file was written by etcd ${from}: its schema is brought up to ${here} when that starts`];
    return { minor: here, reason: `etcd ${installed} is on this machine, and the file was written by etcd ${from}`, notes };
  }
  // A later etcd starts on what an earlier one left; one before 3.4 is no release that we build for.
  const minor = isKnown(from) ? from : isStep(from, ETCD_MINORS[0]) ? ETCD_MINORS[0] : undefined;
  if (minor === undefined) {
    requireStep(from, ETCD_MINORS[0], backup !== undefined);
    throw new WardenError('refused', `it was written by etcd ${from}, and data directories can be built for ${ETCD_MINORS.join(', ')}`, {
      hint: 'a later version of etcd-warden may know that release',
    });
  }
  const reason = backup === undefined ? `the file was written by etcd ${from}` : `the backup was taken of etcd ${backup}`;
  const notes =
    here === undefined || here === minor
      ? []
      : [
          `etcd ${installed} is on this machine, and the data directories are for etcd ${minor}: say --etcd-version ${here} if that will start on them`,
        ];
  return { minor, reason, notes };
}

const UNKNOWN = 'nothing tells which release of etcd wrote this';

/** @throws WardenError `refused` */
function requireStep(from: string | undefined, to: string, known: boolean): void {
  if (from === undefined || isStep(from, to)) return;
  const what = known ? 'the backup was taken of' : 'the file was written by';
  const [a, b] = [numberOf(from), numberOf(to)];
  if (b < a)
    throw new WardenError('refused', `${what} etcd ${from}, and etcd ${to} does not start on the data of a newer one`, {
      hint: `restore it for etcd ${from}; \`etcdctl downgrade\` of 3.6 and later goes back one minor version of a cluster that runs`,
    });
  const way = Array.from({ length: b - a + 1 }, (_, step) => `3.${a + step}`);
  throw new WardenError('refused', `${what} etcd ${from}, and etcd ${to} starts only on the data of ${way.at(-2)} and ${to}`, {
    hint: `restore it for etcd ${isKnown(from) ? from : way[1]}, start that, then upgrade one minor version at a time: ${way.join(' -> ')}`,
  });
}

/** The same minor version, or the next. */
function isStep(from: string, to: string): boolean {
  const step = numberOf(to) - numberOf(from);
  return step === 0 || step === 1;
}

function isKnown(minor: string): minor is EtcdMinor {
  return (ETCD_MINORS as readonly string[]).includes(minor);
}

function numberOf(minor: string): number {
  return Number(minor.slice(2));
}

/** `3.6` of `3.6`, `v3.6.4`, `3.6+`, `3.6.0-rc.1`; undefined for what is no release of etcd 3. */
function minorOf(version: string): string | undefined {
  const match = /^v?3\.(\d{1,3})(?:[.+-].*)?$/.exec(version.trim());
  return match === null ? undefined : `3.${Number(match[1])}`;
}
