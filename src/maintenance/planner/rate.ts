/** How long a defragmentation will freeze a member: it copies what is in use, at about the speed at which it did so before. */
import type { MemberState, Past, PastDefrag } from './types.ts';

/** Bytes per second where nothing was learned yet: reported are 3.8-8 GB at 200-270 MB/s on good disks (gardener/etcd-backup-restore #1061). */
const REPORTED_RATE = 200e6;
/**
 * Whatever the size: a file is made, synced, renamed and mapped again. Measured on 3.4.23 and 3.6.16, in memory and on ext4: 3 to 8 ms for an empty database,
 * 12 to 20 ms for 1 MiB, where the copying would take 5. A disk that syncs slowly takes longer, but never seconds.
 */
const FIXED_MS = 12;
/** A smaller copy tells the time of opening and syncing a file, not the speed of copying. */
export const TELLING_BYTES = 8 * 1024 * 1024;

/** That member's own last defragmentation, else the middle one of the others', else a rate from reported cases. */
export function rateOf(past: Past, memberId: string): { bytesPerSecond: number; learned: boolean } {
  const own = rateIn(past.defrags[memberId]);
  if (own !== undefined) return { bytesPerSecond: own, learned: true };
  const others = Object.values(past.defrags)
    .flatMap((each) => rateIn(each) ?? [])
    .sort((a, b) => a - b);
  // Of an even number the slower one of the two in the middle: a freeze had better be shorter than was said.
  const middle = others[Math.floor((others.length - 1) / 2)];
  return middle === undefined ? { bytesPerSecond: REPORTED_RATE, learned: false } : { bytesPerSecond: middle, learned: true };
}

/** Milliseconds for which the member will answer nothing, as far as can be told. */
export function predictedFreezeMs(member: Pick<MemberState, 'dbSizeInUse' | 'rate'>): number {
  return Math.ceil(FIXED_MS + (member.dbSizeInUse / member.rate.bytesPerSecond) * 1000);
}

function rateIn(defrag: PastDefrag | undefined): number | undefined {
  if (defrag === undefined || defrag.inUseBytes < TELLING_BYTES || !(defrag.tookMs > FIXED_MS)) return undefined;
  return (defrag.inUseBytes / (defrag.tookMs - FIXED_MS)) * 1000;
}
