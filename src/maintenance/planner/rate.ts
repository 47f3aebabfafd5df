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

/**
 * So many of a member's last defragmentations speak, and the middle one counts: what a copy takes depends on what else the machine does, so that two of
 * the same member differ by a half now and then.
 */
const SPEAKING = 5;

/** The rates that are remembered with a defragmentation, those before it among them. */
export function remembered(defrag: PastDefrag, before: PastDefrag | undefined): readonly number[] {
  return [...(rateIn(defrag) === undefined ? [] : [rateIn(defrag)!]), ...ratesOf(before)].slice(0, SPEAKING);
}

/** That member's own last defragmentations, else the middle one of the others', else a rate from reported cases. */
export function rateOf(past: Past, memberId: string): { bytesPerSecond: number; learned: boolean } {
  const own = middleOf(ratesOf(past.defrags[memberId]));
  if (own !== undefined) return { bytesPerSecond: own, learned: true };
  const others = middleOf(Object.values(past.defrags).flatMap((each) => middleOf(ratesOf(each)) ?? []));
  return others === undefined ? { bytesPerSecond: REPORTED_RATE, learned: false } : { bytesPerSecond: others, learned: true };
}

function ratesOf(defrag: PastDefrag | undefined): readonly number[] {
  return defrag?.rates ?? [rateIn(defrag)].flatMap((rate) => rate ?? []);
}

/** Of an even number the slower one of the two in the middle: a freeze had better be shorter than was said. */
function middleOf(rates: readonly number[]): number | undefined {
  const sorted = [...rates].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/** Milliseconds for which the member will answer nothing, as far as can be told. */
export function predictedFreezeMs(member: Pick<MemberState, 'dbSizeInUse' | 'rate'>): number {
  return Math.ceil(FIXED_MS + (member.dbSizeInUse / member.rate.bytesPerSecond) * 1000);
}

function rateIn(defrag: PastDefrag | undefined): number | undefined {
  if (defrag === undefined || defrag.inUseBytes < TELLING_BYTES || !(defrag.tookMs > FIXED_MS)) return undefined;
  return (defrag.inUseBytes / (defrag.tookMs - FIXED_MS)) * 1000;
}
