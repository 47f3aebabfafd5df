/** The plain bytes of a file that is to be imported, in whatever wrapping its tool left it. */
import { openFile } from '../archive/file-access.ts';
import { isZip, readZip, unzip } from '../archive/zip.ts';
import { WardenError } from '../errors.ts';
import { openSnapshotFile } from '../inspect/file.ts';
import { foreignKind } from '../inspect/foreign.ts';
import type { OpenSnapshotOptions } from '../inspect/types.ts';
import type { Scratch } from '../mvcc/scratch.ts';
import type { PlainFile } from './plain-pass.ts';

type ImportFileOptions = Pick<OpenSnapshotOptions, 'identities' | 'signal' | 'progress' | 'scratchFolder'> & { readonly scratch: Scratch };

export interface ImportFile extends PlainFile {
  close(): Promise<void>;
}

const START_LENGTH = 512;

/** @throws WardenError `not-bolt`, `usage`, `verification-failed`, `key-missing`, `nothing-found`, `disk-failed`, `disk-full` */
export async function openImportFile(path: string, options: ImportFileOptions): Promise<ImportFile> {
  if (await beginsAsZip(path)) return unpacked(path, options);
  const { file } = await openSnapshotFile(path, options);
  return file;
}

async function beginsAsZip(path: string): Promise<boolean> {
  // What is no file at all is named by openSnapshotFile.
  const file = await openFile(path).catch(() => undefined);
  if (file === undefined) return false;
  try {
    return isZip(await file.read(0, Math.min(4, file.size)));
  } finally {
    await file.close();
  }
}

/** Deflate can only be read from its beginning: into a scratch file, which never is larger than the archive says. */
async function unpacked(path: string, { scratch, signal, progress }: ImportFileOptions): Promise<ImportFile> {
  const entry = await readZip(path);
  const plain = await scratch.create();
  try {
    for await (const block of unzip(path, entry, signal)) {
      await plain.append(block);
      progress?.({ step: 'read', message: `unpacking ${path}`, bytes: plain.size, totalBytes: entry.plainBytes });
    }
    const inside = foreignKind(entry.name, await plain.read(0, Math.min(START_LENGTH, plain.size)));
    if (inside !== undefined)
      throw new WardenError('not-bolt', `${path} holds ${inside.what}, not a snapshot of etcd 3`, { hint: inside.hint });
  } catch (error) {
    await plain.close();
    throw error;
  }
  return {
    size: plain.size,
    compressed: false,
    read(offset, length, own) {
      (own ?? signal).throwIfAborted();
      return plain.read(offset, length);
    },
    close: () => plain.close(),
  };
}
