/** What every call on the bucket carries: its name, full keys, encryption. */
import type { S3StoreConfig } from '../../config/types.ts';
import { WardenError } from '../../errors.ts';
import { normalisePrefix, validKey } from '../keys.ts';

export interface Bucket {
  readonly Bucket: string;
  /** `''`, or the prefix with a slash at its end. */
  readonly prefix: string;
  readonly checksums: boolean;
  readonly storageClass: string | undefined;
  /** The name of an object in the bucket. @throws WardenError `refused` */
  full(key: string): string;
  /** Encryption of new objects. */
  forWriting(): WriteEncryption;
  /** SSE-C wants its key with every call on an object, because the store keeps none. */
  forReading(): CustomerKey;
}

type CustomerKey = { SSECustomerAlgorithm?: 'AES256'; SSECustomerKey?: string };
type WriteEncryption = CustomerKey & { ServerSideEncryption?: 'AES256' | 'aws:kms'; SSEKMSKeyId?: string };

/** @throws WardenError `config-invalid` */
export function bucketOf(config: S3StoreConfig): Bucket {
  const normal = normalisePrefix(config.prefix);
  const prefix = normal === '' ? '' : `${normal}/`;

  function forReading(): CustomerKey {
    if (config.encryption !== 'sse-c') return {};
    const key = config.customerKey?.read();
    // Decoded and encoded again: Node reads base64 of any form, S3 only the strict one.
    const bytes = Buffer.from(key ?? '', 'base64');
    if (bytes.length !== 32) {
      throw new WardenError('config-invalid', `stores.${config.name}.customerKey must be base64 of 32 bytes, it holds ${bytes.length}`, {
        hint: 'make one with `openssl rand -base64 32`, and keep a copy elsewhere: without it nothing can be read',
      });
    }
    return { SSECustomerAlgorithm: 'AES256', SSECustomerKey: bytes.toString('base64') };
  }

  return {
    Bucket: config.bucket,
    prefix,
    checksums: config.checksum === 'crc32',
    storageClass: config.storageClass,
    full: (key) => prefix + validKey(key),
    forReading,
    forWriting() {
      if (config.encryption === 'sse-s3') return { ServerSideEncryption: 'AES256' };
      if (config.encryption === 'sse-kms') {
        return { ServerSideEncryption: 'aws:kms', ...(config.kmsKeyId === undefined ? {} : { SSEKMSKeyId: config.kmsKeyId }) };
      }
      return forReading();
    },
  };
}
