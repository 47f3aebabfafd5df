import { expect, test } from 'vitest';
import { compareVersions, knownBadData, knownWrongHash, learnerServesSnapshot } from './versions.ts';

test('versions are compared by number, not by letter', () => {
  expect(compareVersions('3.4.9', '3.4.28')).toBeLessThan(0);
  expect(compareVersions('3.10.0', '3.9.9')).toBeGreaterThan(0);
  expect(compareVersions('v3.6.0-rc.1', '3.6.0')).toBe(0);
});

test('the bounds of what is known are exact', () => {
  expect([learnerServesSnapshot('3.4.27'), learnerServesSnapshot('3.4.28'), learnerServesSnapshot('3.5.0')]).toEqual([false, true, true]);
  expect(['3.4.30', '3.5.0', '3.5.2', '3.5.3', '3.5.5', '3.5.6', '3.6.0'].map((version) => knownBadData(version) !== undefined)).toEqual([
    false,
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
  const wrong = ['3.4.23', '3.4.33', '3.4.34', '3.5.4', '3.5.9', '3.5.15', '3.5.16', '3.6.0', '3.7.1'];
  expect(wrong.filter((version) => knownWrongHash(version) !== undefined)).toEqual(['3.4.23', '3.4.33', '3.5.4', '3.5.9', '3.5.15']);
});
