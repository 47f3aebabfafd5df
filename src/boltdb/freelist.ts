/**
 * The stored list of free pages (internal/common/page.go, `FreelistPageIds`): u64 ids behind the header, as many as its count says; 0xffff there means that the
 * first of them is the count. etcd stores none on Linux, and then all pages that no tree reaches are free.
 */
import { damaged } from './errors.ts';
import type { Meta } from './meta.ts';
import { HEADER_LENGTH } from './page.ts';
import type { RandomAccess } from './random-access.ts';

const FREELIST = 0x10;
const COUNT_ELSEWHERE = 0xffff;
const ID_LENGTH = 8;

/** A database of 8 GiB can have 2 million free pages. */
const CHUNK_LENGTH = 64 * 1024;

export interface Freelist {
  readonly id: number;
  /** How many pages the list itself takes up. */
  readonly pages: number;
  /** Ids in the order they are stored in, some thousands at a time. */
  ids(signal?: AbortSignal): AsyncGenerator<readonly number[], void, undefined>;
}

/** @returns undefined when none is stored. @throws WardenError `bolt-damaged` */
export async function readFreelist(file: RandomAccess, meta: Meta, signal?: AbortSignal): Promise<Freelist | undefined> {
  const { order, pageSize } = meta;
  if (meta.freelist === undefined) return undefined;
  const [id, highWater] = [Number(meta.freelist), Number(meta.highWater)];
  if (id < 2 || id >= highWater)
    throw damaged({ id }, `it is to be the list of free pages, which can be one of 2 to ${highWater - 1} only`);
  const header = Buffer.from(await file.read(id * pageSize, HEADER_LENGTH + ID_LENGTH, signal));
  if (order.id(header, 0) !== id) throw damaged({ id }, `it says that it is page ${order.u64(header, 0)}`);
  const flags = order.u16(header, 8);
  if (flags !== FREELIST) throw damaged({ id }, `its flags are 0x${flags.toString(16)}, the list of free pages has 0x10`);
  const pages = order.u32(header, 12) + 1;
  if (id + pages > highWater) throw damaged({ id }, `${pages - 1} pages are to follow it, the database ends at ${highWater}`);
  const elsewhere = order.u16(header, 10) === COUNT_ELSEWHERE;
  const count = elsewhere ? order.id(header, HEADER_LENGTH) : order.u16(header, 10);
  const start = HEADER_LENGTH + (elsewhere ? ID_LENGTH : 0);
  if (start + count * ID_LENGTH > pages * pageSize) throw damaged({ id }, `${count} free pages do not fit into ${pages * pageSize} bytes`);
  return {
    id,
    pages,
    async *ids(inner) {
      const end = id * pageSize + start + count * ID_LENGTH;
      for (let at = id * pageSize + start; at < end; at += CHUNK_LENGTH) {
        const bytes = await file.read(at, Math.min(CHUNK_LENGTH, end - at), inner);
        yield Array.from({ length: bytes.length / ID_LENGTH }, (_, i) => order.id(bytes, i * ID_LENGTH));
      }
    },
  };
}
