import { describe, expect, test } from 'vitest';
import { diagnose, faultError, type Fault } from './faults.ts';
import { partSizeFor, TUNING } from './tuning.ts';

interface Answer {
  readonly name?: string;
  readonly code?: string;
  readonly status?: number;
  readonly message?: string;
  readonly headers?: Record<string, string>;
}

/** An error as the SDK throws it. */
function sdkError({ name = 'Error', code, status, message = 'text', headers = {} }: Answer): Error {
  return Object.assign(new Error(message), {
    name,
    ...(code === undefined ? {} : { code }),
    ...(status === undefined ? {} : { $metadata: { httpStatusCode: status }, $response: { headers } }),
  });
}

describe('what a failed call means', () => {
  const cases: readonly [Fault, Answer][] = [
    ['transient', { name: 'SlowDown', status: 503 }],
    ['transient', { name: 'UnknownError', status: 500 }],
    ['transient', { name: 'x', status: 599 }],
    ['transient', { name: 'x', status: 408 }],
    ['transient', { name: 'x', status: 425 }],
    ['transient', { name: 'x', status: 429 }],
    ['transient', { name: 'x', status: 409 }],
    ['transient', { name: 'x', status: 499 }],
    ['transient', { name: 'RequestTimeout', status: 400 }],
    ['transient', { name: 'BadDigest', status: 400 }],
    ['transient', { name: 'SyntaxError', status: 200 }],
    ['transient', { code: 'ECONNRESET' }],
    ['transient', { code: 'ENOTFOUND' }],
    ['transient', { name: 'TimeoutError' }],
    ['transient', { message: 'socket hang up' }],
    ['transient', { message: 'aborted' }],
    ['expired', { name: 'ExpiredToken', status: 400 }],
    ['region', { name: 'PermanentRedirect', status: 301 }],
    ['region', { name: 'x', status: 307 }],
    ['region', { name: 'AuthorizationHeaderMalformed', status: 400 }],
    ['missing', { name: 'NoSuchKey', status: 404 }],
    ['missing', { name: 'x', status: 404 }],
    ['no-bucket', { name: 'NoSuchBucket', status: 404 }],
    ['no-upload', { name: 'NoSuchUpload', status: 404 }],
    ['precondition', { name: 'x', status: 412 }],
    ['range', { name: 'InvalidRange', status: 416 }],
    ['range', { name: 'x', status: 416 }],
    ['denied', { name: 'AccessDenied', status: 403 }],
    ['denied', { name: 'x', status: 401 }],
    ['denied', { name: 'CredentialsProviderError' }],
    ['clock', { name: 'RequestTimeTooSkewed', status: 403 }],
    ['clock', { name: 'x', status: 403, headers: { date: 'Thu, 01 Jan 2026 00:00:00 GMT' } }],
    ['tls', { code: 'CERT_HAS_EXPIRED' }],
    ['tls', { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }],
    ['tls', { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }],
    ['tls', { code: 'SELF_SIGNED_CERT_IN_CHAIN' }],
    ['tls', { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }],
    ['unsupported', { name: 'NotImplemented', status: 501 }],
    ['unsupported', { name: 'x', status: 501 }],
    ['unsupported', { name: 'InvalidArgument', status: 400, message: 'unsupported x-amz-checksum-crc32' }],
    ['permanent', { name: 'InvalidRequest', status: 400 }],
    ['permanent', { name: 'TypeError' }],
  ];

  test.each(cases)('%s: %j', (fault, answer) => {
    const error = sdkError(answer);
    expect(diagnose(error, Date.parse('2026-11-22T10:00:00Z')).fault).toBe(fault);
    const shown = faultError(diagnose(error), 's3://b: PUT of k', 3, error);
    expect(shown.message).toContain('s3://b: PUT of k');
    expect(shown.cause).toBe(error);
  });

  test('the region of the bucket is found in the header or in the body', () => {
    expect(diagnose(sdkError({ name: 'PermanentRedirect', status: 301, headers: { 'x-amz-bucket-region': 'eu-west-1' } })).region).toBe(
      'eu-west-1',
    );
    expect(diagnose(Object.assign(sdkError({ name: 'AuthorizationHeaderMalformed', status: 400 }), { Region: 'eu-west-2' })).region).toBe(
      'eu-west-2',
    );
  });

  test('a damage that comes every time points at the server, not at the line', () => {
    const error = sdkError({ name: 'XAmzContentSHA256Mismatch', status: 400 });
    expect(faultError(diagnose(error), 'x', 6, error).hint).toContain('checksum: none');
    const other = sdkError({ name: 'SlowDown', status: 503 });
    expect(faultError(diagnose(other), 'x', 6, other).hint).toBeUndefined();
  });

  test('whatever was thrown is diagnosed', () => {
    expect(diagnose('a string')).toMatchObject({ fault: 'permanent', message: 'a string' });
    expect(diagnose(undefined).fault).toBe('permanent');
  });
});

test('parts are 8 MiB up to 70 GiB, then as large as 9000 parts must be', () => {
  const MiB = 1 << 20;
  expect(partSizeFor(0, TUNING)).toBe(8 * MiB);
  expect(partSizeFor(70 * 1024 * MiB, TUNING)).toBe(8 * MiB);
  expect(partSizeFor(100 * 1024 * MiB, TUNING)).toBe(12 * MiB);
});
