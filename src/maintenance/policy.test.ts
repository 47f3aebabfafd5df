import { expect, test } from 'vitest';
import { loadConfig } from '../config/load.ts';
import { POLICY } from '../../test/support/planner.ts';
import { policyOf } from './policy.ts';

test('the defaults of the configuration are the policy that the planner is tested with', () => {
  const { config } = loadConfig({ flags: { endpoints: 'http://127.0.0.1:1' }, env: {} });
  const [cluster] = Object.values(config.clusters);
  expect(policyOf(cluster!.maintenance)).toEqual(POLICY);
});
