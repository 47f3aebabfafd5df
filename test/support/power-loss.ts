/**
 * What a disk may hold after the power went, worked out from the system calls of a real run.
 *
 * The run is traced with strace; its calls are replayed on a model of the folder that knows, beside what every process sees, what has certainly
 * reached the disk. POSIX promises very little, and this takes it at its word: bytes are on the disk after fsync or fdatasync of their file, a name
 * (new, moved or removed) after fsync of its folder, and before that each of them may be there or not, in any combination and whatever the order of
 * the calls was. File systems promise more (ext4's journal keeps the order of names), but not all do, and not with every mount option.
 * After T. S. Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.
 */
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { program } from '../../tools/programs.ts';
import { run } from './processes.ts';

/** One traced system call, with its beginning: what another thread did meanwhile is not covered by an fsync. */
export interface Call {
  readonly name: string;
  /** Numbers and flags as strace writes them, without the strings. */
  readonly numbers: readonly string[];
  readonly strings: readonly Buffer[];
  readonly result: number;
  readonly phase: 'begin' | 'end';
  /** The same for begin and end of one call. */
  readonly id: number;
}

const TRACED = [
  'open,openat,openat2,creat,close,dup,dup2,dup3,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,sendfile,splice',
  'fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir',
].join(',');
/** The longest single write of the runs traced here is a frame of 1 MiB, and its neighbours. */
const LONGEST_WRITE = 8 << 20;

/** Runs a command, which must be one process, to its end under strace. @throws Error when it fails, or cannot be traced */
export async function traceCalls(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  traceFile: string,
): Promise<{ calls: Call[]; stdout: string }> {
  const flags = [
    '-f',
    '--seccomp-bpf',
    '-qq',
    '-xx',
    '-s',
    String(LONGEST_WRITE),
    '-e',
    'signal=none',
    '-e',
    `trace=${TRACED}`,
    '-o',
    traceFile,
  ];
  // libuv can hand file operations to io_uring, which no tracer sees.
  const stdout = await run(program('strace'), [...flags, ...command], { env: { ...env, UV_USE_IO_URING: '0' } });
  const calls = parseTrace(readFileSync(traceFile, 'latin1'));
  rmSync(traceFile);
  return { calls, stdout };
}

/** Reads the output of `strace -f -xx`. */
function parseTrace(text: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<string, { text: string; id: number }>();
  let id = 0;
  for (const line of text.split('\n')) {
    const [thread, rest] = split(line, ' ');
    if (rest.startsWith('<... ')) {
      const begun = unfinished.get(thread);
      if (begun === undefined) continue;
      unfinished.delete(thread);
      calls.push(parseCall(begun.text + rest.slice(rest.indexOf('resumed>') + 'resumed>'.length), 'end', begun.id));
    } else if (rest.endsWith(' <unfinished ...>')) {
      const begun = { text: rest.slice(0, -' <unfinished ...>'.length), id: id++ };
      unfinished.set(thread, begun);
      calls.push(parseCall(`${begun.text}) = 0`, 'begin', begun.id));
    } else if (/^\w+\(/.test(rest)) {
      calls.push(parseCall(rest, 'begin', id), parseCall(rest, 'end', id));
      id++;
    }
  }
  return calls;
}

function parseCall(text: string, phase: Call['phase'], id: number): Call {
  const [name, rest] = split(text, '(');
  const end = rest.lastIndexOf(') ');
  // With -xx a string holds nothing but \x.. , so a quote always ends it.
  const pieces = rest.slice(0, end).split('"');
  if (pieces.some((piece, index) => index % 2 === 0 && piece.startsWith('...'))) throw new Error(`strace cut a string of ${name} short`);
  const strings = pieces.filter((_, index) => index % 2 === 1).map((piece) => Buffer.from(piece.replaceAll('\\x', ''), 'hex'));
  const numbers = pieces.filter((_, index) => index % 2 === 0).flatMap((piece) => piece.split(',').map((word) => word.trim()));
  return {
    name,
    numbers: numbers.filter((word) => word !== ''),
    strings,
    result: Number.parseInt(rest.slice(end).replace(/^\)\s*= /, ''), 10),
    phase,
    id,
  };
}

function split(text: string, by: string): [string, string] {
  const at = text.indexOf(by);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + by.length).trimStart()];
}

interface FileNode {
  readonly kind: 'file';
  readonly number: number;
  now: Buffer;
  durable: Buffer;
  /** Counts changes, so that states can be compared without their bytes. */
  version: number;
  durableVersion: number;
}

interface FolderNode {
  readonly kind: 'folder';
  readonly now: Map<string, Node>;
  readonly durable: Map<string, Node>;
  /** Since the folder was last synced, in the order of the calls. */
  pending: Change[];
}

type Node = FileNode | FolderNode;

interface Change {
  readonly name: string;
  /** Undefined = removed. */
  readonly node: Node | undefined;
  /** A rename within one folder is one change: the old name goes as the new one comes. */
  readonly leaves?: string | undefined;
}

/** What became of bytes that were not synced: gone; the length reached the disk and they did not; they reached it. */
const DATA = ['lost', 'zeros', 'kept'] as const;

/** One possible content of the folder: paths below it, null = a folder. */
export interface DiskState {
  /** Equal for equal states of one replay. */
  readonly key: string;
  readonly description: string;
  readonly files: ReadonlyMap<string, Buffer | null>;
}

/** More changes than this are not tried in every combination, but none, all, each alone, and each missing. */
const ALL_COMBINATIONS_OF = 7;

/** A folder as processes see it and as the disk holds it. */
export class PoweredDisk {
  readonly #root: string;
  readonly #tree: FolderNode = newFolder();
  readonly #descriptors = new Map<number, { node: Node; offset: number }>();
  readonly #begun = new Map<number, { node: Node; bytes: Buffer | undefined; version: number; changes: readonly Change[] }>();
  #files = 0;
  /** The process has written to its standard output. */
  reported = false;

  readonly #deafTo: Node['kind'] | undefined;

  /**
   * What lies in `root` now counts as being on the disk.
   * @param deafTo syncs of these do nothing: the same run by a program that forgot them
   */
  constructor(root: string, deafTo?: Node['kind']) {
    this.#root = realpathSync(root);
    this.#deafTo = deafTo;
    this.#load(this.#root, this.#tree);
  }

  #load(path: string, folder: FolderNode): void {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const node: Node = entry.isDirectory() ? newFolder() : this.#newFile(readFileSync(join(path, entry.name)));
      if (node.kind === 'folder') this.#load(join(path, entry.name), node);
      folder.now.set(entry.name, node);
      folder.durable.set(entry.name, node);
    }
  }

  #newFile(bytes: Buffer): FileNode {
    return { kind: 'file', number: ++this.#files, now: bytes, durable: bytes, version: 0, durableVersion: 0 };
  }

  /** @returns whether it may have changed what the disk holds */
  apply(call: Call): boolean {
    if (call.name === 'fsync' || call.name === 'fdatasync') return this.#sync(call);
    if (call.phase === 'begin' || call.result < 0) return false;
    const { name, numbers, strings, result } = call;
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = strings;
    const descriptor = Number(numbers[0]);
    switch (name) {
      case 'open':
      case 'openat':
      case 'creat':
        return this.#open(first.toString(), name === 'creat' ? 'O_CREAT|O_TRUNC' : numbers.join(','), result);
      case 'close':
        this.#descriptors.delete(descriptor);
        return false;
      case 'write':
      case 'writev':
      case 'pwrite64':
      case 'pwritev':
        return this.#write(call);
      case 'ftruncate':
        return this.#truncate(this.#descriptors.get(descriptor)?.node, Number(numbers[1]));
      case 'mkdir':
      case 'mkdirat':
        return this.#change(first.toString(), newFolder());
      case 'link':
      case 'linkat':
        return this.#change(second.toString(), this.#find(first.toString()));
      case 'unlink':
      case 'unlinkat':
      case 'rmdir':
        return this.#change(first.toString(), undefined);
      case 'rename':
      case 'renameat':
      case 'renameat2': {
        const [from, to] = [first.toString(), second.toString()];
        const node = this.#find(from);
        if (dirname(from) === dirname(to)) return this.#change(to, node, basename(from));
        // Between two folders nobody promises that both names change together.
        const came = this.#change(to, node);
        return this.#change(from, undefined) || came;
      }
      default:
        if (this.#descriptors.has(descriptor) || strings.some((path) => this.#names(path.toString()) !== undefined))
          throw new Error(`the replay does not know what ${name} does to a disk`);
        return false;
    }
  }

  #open(path: string, flags: string, descriptor: number): boolean {
    this.#descriptors.delete(descriptor);
    const known = this.#find(path);
    const created = known === undefined && flags.includes('O_CREAT') && this.#names(path) !== undefined;
    const node = created ? this.#newFile(Buffer.alloc(0)) : known;
    if (node === undefined) return false;
    this.#descriptors.set(descriptor, { node, offset: 0 });
    if (created) return this.#change(path, node);
    return flags.includes('O_TRUNC') && this.#truncate(node, 0);
  }

  #write({ name, numbers, strings, result }: Call): boolean {
    const descriptor = Number(numbers[0]);
    if (descriptor === 1) this.reported = true;
    const open = this.#descriptors.get(descriptor);
    if (open?.node.kind !== 'file') return descriptor === 1;
    const offset = name.startsWith('p') ? Number(numbers.at(-1)) : open.offset;
    // A disk that fills up takes a part.
    const bytes = Buffer.concat(strings).subarray(0, result);
    const { node } = open;
    const next = Buffer.alloc(Math.max(node.now.length, offset + bytes.length));
    node.now.copy(next);
    bytes.copy(next, offset);
    node.now = next;
    node.version++;
    if (!name.startsWith('p')) open.offset += bytes.length;
    return true;
  }

  #truncate(node: Node | undefined, length: number): boolean {
    if (node?.kind !== 'file') return false;
    const next = Buffer.alloc(length);
    node.now.copy(next);
    node.now = next;
    node.version++;
    return true;
  }

  /** Holds for what was there when it began, once it has ended. */
  #sync({ phase, id, numbers, result }: Call): boolean {
    if (phase === 'begin') {
      const node = this.#descriptors.get(Number(numbers[0]))?.node;
      if (node?.kind === 'file') this.#begun.set(id, { node, bytes: node.now, version: node.version, changes: [] });
      else if (node !== undefined) this.#begun.set(id, { node, bytes: undefined, version: 0, changes: [...node.pending] });
      return false;
    }
    const begun = this.#begun.get(id);
    this.#begun.delete(id);
    if (begun === undefined || result < 0) return false;
    const { node, bytes, version, changes } = begun;
    if (node.kind === this.#deafTo) return false;
    if (node.kind === 'file') {
      if (version < node.durableVersion) return false;
      node.durable = bytes!;
      node.durableVersion = version;
    } else {
      for (const change of changes) put(node.durable, change);
      node.pending = node.pending.filter((change) => !changes.includes(change));
    }
    return true;
  }

  #change(path: string, node: Node | undefined, leaves?: string): boolean {
    const names = this.#names(path);
    const parent = names === undefined ? undefined : this.#find(dirname(path));
    if (parent?.kind !== 'folder') return false;
    const change = { name: names!.at(-1)!, node, leaves };
    put(parent.now, change);
    parent.pending.push(change);
    return true;
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#tree;
    for (const name of this.#names(path) ?? (path === this.#root ? [] : ['']))
      node = node?.kind === 'folder' ? node.now.get(name) : undefined;
    return node;
  }

  /** Undefined for what is not below the root. */
  #names(path: string): string[] | undefined {
    return path.startsWith(`${this.#root}/`) ? path.slice(this.#root.length + 1).split('/') : undefined;
  }

  /** Everything that the disk might hold if the power went now. */
  *afterPowerLoss(): Generator<DiskState> {
    const pending = [...pendingIn(this.#tree)];
    for (const chosen of choices(pending)) {
      for (const data of DATA) {
        const files = new Map<string, Buffer | null>();
        const keys: string[] = [];
        collect(this.#tree, '', { chosen: new Set(chosen), data, files, keys });
        const names = chosen.map(({ name, node }) => `${node === undefined ? '-' : '+'}${name}`).join(' ');
        yield {
          key: keys.join('\n'),
          description: `unsynced bytes ${data}, of ${pending.length} unsynced names: ${names || 'none'}`,
          files,
        };
      }
    }
  }
}

/** Writes a state into an empty folder. */
export function materialise(state: DiskState, folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [path, bytes] of state.files) {
    if (bytes === null) mkdirSync(join(folder, path));
    else writeFileSync(join(folder, path), bytes);
  }
}

function newFolder(): FolderNode {
  return { kind: 'folder', now: new Map(), durable: new Map(), pending: [] };
}

function put(entries: Map<string, Node>, { name, node, leaves }: Change): void {
  if (leaves !== undefined) entries.delete(leaves);
  if (node === undefined) entries.delete(name);
  else entries.set(name, node);
}

/** Also of folders whose own name is not on the disk: it may get there alone. */
function* pendingIn(folder: FolderNode, seen = new Set<Node>()): Generator<Change> {
  if (seen.has(folder)) return;
  seen.add(folder);
  yield* folder.pending;
  for (const node of [...folder.durable.values(), ...folder.now.values()]) if (node.kind === 'folder') yield* pendingIn(node, seen);
}

function* choices(pending: readonly Change[]): Generator<Change[]> {
  if (pending.length <= ALL_COMBINATIONS_OF) {
    for (let bits = 0; bits < 2 ** pending.length; bits++) yield pending.filter((_, index) => (bits >> index) % 2 === 1);
    return;
  }
  yield [];
  yield [...pending];
  for (const one of pending) {
    yield [one];
    yield pending.filter((other) => other !== one);
  }
}

interface Collecting {
  readonly chosen: ReadonlySet<Change>;
  readonly data: (typeof DATA)[number];
  readonly files: Map<string, Buffer | null>;
  readonly keys: string[];
}

function collect(folder: FolderNode, below: string, into: Collecting): void {
  const entries = new Map(folder.durable);
  for (const change of folder.pending) if (into.chosen.has(change)) put(entries, change);
  for (const [name, node] of [...entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const path = below + name;
    if (node.kind === 'folder') {
      into.files.set(path, null);
      into.keys.push(`${path}/`);
      collect(node, `${path}/`, into);
    } else {
      const synced = into.data === 'lost' || node.version === node.durableVersion;
      into.files.set(path, synced ? node.durable : into.data === 'kept' ? node.now : zeroed(node));
      into.keys.push(`${path} ${node.number}.${synced ? node.durableVersion : `${node.version}${into.data}`}`);
    }
  }
}

/** The length is right, and where nothing was synced there are zeros. */
function zeroed({ now, durable }: FileNode): Buffer {
  const bytes = Buffer.alloc(now.length);
  durable.copy(bytes);
  return bytes;
}
