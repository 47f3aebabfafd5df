/** Where file systems are mounted: nothing can be renamed onto such a folder, and locks name the device of the file system, which on some is not the one of stat(2). */
import { readFile } from 'node:fs/promises';

export interface Mount {
  readonly path: string;
  /** As /proc/locks prints it, `fd:01`: both parts in hex, at least two digits. */
  readonly device: string;
}

/** Of this process; empty where there is no /proc. */
export async function readMounts(file = '/proc/self/mountinfo'): Promise<readonly Mount[]> {
  return parseMounts(await readFile(file, 'utf8').catch(() => ''));
}

/** proc(5): the third field is major:minor, the fifth the path with spaces and the like in octal. */
export function parseMounts(text: string): readonly Mount[] {
  return text.split('\n').flatMap((line) => {
    const [, , device, , path] = line.split(' ');
    const numbers = /^(\d+):(\d+)$/.exec(device ?? '');
    if (numbers === null || path === undefined) return [];
    const unescaped = path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
    // What /proc escapes are single bytes; the rest of the path is UTF-8 already.
    return [{ path: unescaped, device: formatDevice(Number(numbers[1]), Number(numbers[2])) }];
  });
}

export function formatDevice(major: number, minor: number): string {
  return `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}`;
}

/** The mount that a path lies on: of several at one place the last, which hides the others. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  return mounts
    .filter((mount) => isWithin(path, mount.path))
    .reduce<Mount | undefined>((best, each) => (best === undefined || each.path.length >= best.path.length ? each : best), undefined);
}

/** `path` is `folder` or lies below it. Both absolute and without links. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}
