import { expect, test } from 'vitest';
import { isComparable } from './proof.ts';

test.each([
  ['its own revision and compact revision', '9', '5', 9n, 5n, true],
  ['members that compacted since', '9', '9', 9n, 5n, true],
  ['nothing compacted anywhere', '9', '-1', 9n, 0n, true],
  ['another revision', '8', '5', 9n, 5n, false],
  ['members that compacted more than the file holds', '9', '10', 9n, 5n, false],
  ['members that had compacted less', '9', '4', 9n, 5n, false],
  ['members that had compacted nothing', '9', '-1', 9n, 5n, false],
])('a proof with %s', (_what, revision, compactRevision, ofFile, compactedInFile, comparable) => {
  expect(isComparable({ revision, compactRevision }, { revision: ofFile, compactRevision: compactedInFile })).toBe(comparable);
});
