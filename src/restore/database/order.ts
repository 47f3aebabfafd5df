/** bbolt maps integers as they are, so a database is for machines of one byte order. */
import { endianness } from 'node:os';
import type { ByteOrder } from '../../boltdb/byte-order.ts';

/** Of this machine, where etcd is to start on it. */
export const HOST_ORDER: ByteOrder['name'] = endianness() === 'LE' ? 'little-endian' : 'big-endian';
