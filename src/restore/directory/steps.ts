/** Renames that survive a loss of power one after the other, and can be undone in reverse. */
import { link, lstat, mkdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { diskError } from '../../archive/disk-errors.ts';
import { asError, WardenError } from '../../errors.ts';
import { syncFolder } from '../../store/local/folders.ts';
import { giveTo } from './owner.ts';
import { occupiedMeanwhile, type Spot } from './place.ts';

/** File systems without hard links. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

export class Steps {
  readonly kept: string[] = [];
  readonly #undo: (() => Promise<unknown>)[] = [];

  onUndo(step: () => Promise<unknown>): void {
    this.#undo.push(step);
  }

  /** @param tell whether people are told of it */
  async setAside(path: string, wanted: string, tell = true): Promise<void> {
    const to = await freeName(wanted);
    await move(path, to);
    this.onUndo(() => move(to, path));
    if (tell) this.kept.push(to);
  }

  /** To another folder, under the same name. */
  async carryOver(path: string, to: string): Promise<void> {
    await carry(path, to);
    this.onUndo(() => carry(to, path));
  }

  /** @param over an empty directory that the rename takes the place of */
  async put(from: string, to: string, over: Spot | undefined): Promise<void> {
    if (over === undefined && (await lstat(to).catch(() => undefined)) !== undefined) throw occupiedMeanwhile(to);
    await move(from, to);
    this.onUndo(async () => {
      await move(to, from);
      const old = over?.occupants.length === 0 ? over.present : undefined;
      if (old === undefined) return;
      await mkdir(to, { mode: 0o700 });
      await giveTo(to, old, old);
    });
  }

  async undo(): Promise<void> {
    for (const step of this.#undo.splice(0).toReversed()) await step();
  }

  /** @returns what to throw: the error, and where the old directory is if it could not be put back */
  async undoAfter(thrown: unknown): Promise<Error> {
    try {
      await this.undo();
      return asError(thrown);
    } catch (error) {
      return new WardenError('disk-failed', `${asError(thrown).message}; and not everything could be put back: ${asError(error).message}`, {
        hint: this.kept.length === 0 ? 'nothing was replaced' : `what stood there is in ${this.kept.join(', ')}`,
        cause: thrown,
      });
    }
  }
}

/** With a number behind it when something has that name. */
export async function freeName(wanted: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? wanted : `${wanted}-${number}`;
    if ((await lstat(name).catch(() => undefined)) === undefined) return name;
  }
}

/** Between two folders, whose names need not reach the disk together: under both names for a moment rather than under none. */
async function carry(from: string, to: string): Promise<void> {
  const file = (await lstat(from)).isFile();
  if (!file) return move(from, to);
  try {
    await link(from, to);
    await syncFolder(dirname(to));
    await unlink(from);
    await syncFolder(dirname(from));
  } catch (error) {
    if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw await diskError(error, `move ${basename(from)} to`, to, 0);
    await move(from, to);
  }
}

/** Both folders are synced: a crash later finds it under one name. */
async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
    await syncFolder(dirname(to));
    if (dirname(from) !== dirname(to)) await syncFolder(dirname(from));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') throw occupiedMeanwhile(to);
    throw await diskError(error, `rename ${basename(from)} to`, to, 0);
  }
}
