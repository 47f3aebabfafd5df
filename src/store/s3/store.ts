/** A store in a bucket: S3 and what speaks like it. */
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import type { S3StoreConfig } from '../../config/types.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Store } from '../types.ts';
import { bucketOf } from './bucket.ts';
import { createCalls } from './calls.ts';
import { createClients } from './client.ts';
import { deleteObject } from './delete.ts';
import { headObject } from './head.ts';
import { listObjects } from './list.ts';
import { uploadFile } from './multipart.ts';
import { putObject } from './put.ts';
import { readObject } from './read.ts';
import { sweepUploads } from './sweep.ts';
import { TUNING, type Tuning } from './tuning.ts';

/** The store of that configuration; connects to nothing yet. @throws WardenError `config-invalid` */
export function openS3Store(config: S3StoreConfig, tools: { readonly logger: Logger; readonly tuning?: Partial<Tuning> }): Store {
  const bucket = bucketOf(config);
  const clients = createClients(config);
  const location = `s3://${config.bucket}/${bucket.prefix}`.replace(/\/$/, '');
  const calls = createCalls(clients, {
    location,
    requestTimeoutMs: config.requestTimeoutMs,
    retries: config.retries,
    logger: tools.logger,
    tuning: { ...TUNING, ...tools.tuning },
  });

  return {
    name: config.name,
    kind: 's3',
    location,
    spoolFolder: undefined,

    // A listing and not HEAD of the bucket: its errors carry a code and a sentence, and a policy for our prefix alone allows it.
    async check(_neededBytes, { signal }) {
      const input = { Bucket: bucket.Bucket, Prefix: bucket.prefix, MaxKeys: 1 };
      await calls.call('LIST', (client, abortSignal) => client.send(new ListObjectsV2Command(input), { abortSignal }), { signal });
    },

    put: (key, body, options) => putObject(calls, bucket, key, body, options),

    async upload(key, source, options) {
      // Nobody else may be listening yet when it fails early; whoever started it learns of it here all the same.
      options.accepted?.catch(() => {});
      source.finished.catch(() => {});
      return uploadFile(calls, bucket, key, source, config.maxRate > 0 ? { maxRate: config.maxRate, ...options } : options);
    },

    async get(key, options) {
      const blocks: Buffer[] = [];
      for await (const block of readObject(calls, bucket, key, options)) blocks.push(block);
      return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks);
    },

    stream: (key, { signal, range }) => readObject(calls, bucket, key, { signal, range }),

    async head(key, options) {
      const head = await headObject(calls, bucket, key, options);
      return head === undefined ? undefined : { key, size: head.size, modified: head.modified, crc32: head.crc32 };
    },

    list: (prefix, options) => listObjects(calls, bucket, prefix, options),
    delete: (key, options) => deleteObject(calls, bucket, key, options),
    sweep: (options) => sweepUploads(calls, bucket, options),

    close() {
      clients.close();
      return Promise.resolve();
    },
  };
}
