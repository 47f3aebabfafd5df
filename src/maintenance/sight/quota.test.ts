import { expect, test } from 'vitest';
import { DEFAULT_QUOTA, quotaOf } from './quota.ts';

const MIB = 1024 * 1024;

test('the quota comes from the status, else the metrics, else the configuration, else it is the default of etcd', () => {
  const status = { dbSizeQuota: 8 * MIB };
  const metrics = { quotaBytes: 7 * MIB };
  expect(quotaOf(status, metrics, 6 * MIB)).toEqual({ bytes: 8 * MIB, source: 'status' });
  expect(quotaOf({ dbSizeQuota: undefined }, metrics, 6 * MIB)).toEqual({ bytes: 7 * MIB, source: 'metrics' });
  expect(quotaOf({ dbSizeQuota: undefined }, { quotaBytes: undefined }, 6 * MIB)).toEqual({ bytes: 6 * MIB, source: 'configured' });
  expect(quotaOf(undefined, undefined, 6 * MIB)).toEqual({ bytes: 6 * MIB, source: 'configured' });
  expect(quotaOf(undefined, undefined, undefined)).toEqual({ bytes: DEFAULT_QUOTA, source: 'default' });
});

test('a negative quota is none, and zero is the default, as etcd reads its own flag', () => {
  expect(quotaOf({ dbSizeQuota: -1 }, { quotaBytes: 5 }, 5)).toEqual({ bytes: undefined, source: 'status' });
  expect(quotaOf(undefined, { quotaBytes: -1 }, 5)).toEqual({ bytes: undefined, source: 'metrics' });
  expect(quotaOf(undefined, { quotaBytes: 0 }, 5)).toEqual({ bytes: DEFAULT_QUOTA, source: 'metrics' });
});
