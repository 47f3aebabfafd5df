import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { MEMBER_RULES } from './types.ts';

test('docs/members.md explains every rule', () => {
  const text = readFileSync(new URL('../../docs/members.md', import.meta.url), 'utf8');
  const explained = [...text.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([a-z-]+)`/g)].map(([, rule]) => rule!),
  );
  expect(Object.keys(MEMBER_RULES).filter((rule) => !explained.includes(rule))).toEqual([]);
});
