/** How many bytes a backup will need on disk: a guess that errs on the side of too much, made before the first byte. */

/** Room for the seek table, age's overhead, the manifest and a file system's own needs. */
const MARGIN_BYTES = 4 * 2 ** 20;
/** Data that compressed well last time may do so less well today. */
const RATIO_SLACK = 1.25;

/**
 * @param plainBytes the database's size, from Status or from the stream's first message
 * @param last sizes of the newest earlier backup, from its manifest: databases of one cluster compress alike.
 *   Without one the full size is asked for: better a clear refusal before than a full disk in the middle.
 */
export function neededBytes(plainBytes: number, last: { readonly plainBytes: number; readonly storedBytes: number } | undefined): number {
  const ratio = last === undefined || last.plainBytes === 0 ? 1 : Math.min(1, (last.storedBytes / last.plainBytes) * RATIO_SLACK);
  return Math.ceil(plainBytes * ratio) + MARGIN_BYTES;
}
