import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll } from 'vitest';
import { openS3Store } from '../../../src/store/s3/store.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import { startGateway, type Gateway } from '../../support/gateway.ts';
import { describeStore, type StoreUnderTest } from './conformance.ts';

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway?.stop());

// fault 39: the names of bucket and prefix are as odd as S3 allows.
describeStore('S3', () => bucket('a.bucket.with.dots', '/etcd backups/größe 🦊/'));

async function bucket(name: string, prefix: string): Promise<StoreUnderTest> {
  await gateway.createBucket(name);
  return {
    store: openS3Store(gateway.storeConfig(name, prefix), { logger: silentLogger }),
    leftovers: async () => {
      const { Uploads } = await gateway.client.send(new ListMultipartUploadsCommand({ Bucket: name }));
      return (Uploads ?? []).map(({ Key }) => Key ?? '');
    },
  };
}
