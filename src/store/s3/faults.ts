/** What a failed call means: whether trying again helps, and what to tell people. */
import { asError, WardenError } from '../../errors.ts';

export type Fault =
  /** Trying again may help. `acted`: the server may have done what was asked. */
  | 'transient'
  /** The credentials ran out: read them anew and try again. */
  | 'expired'
  /** The bucket is in another region. */
  | 'region'
  | 'missing'
  | 'no-bucket'
  | 'no-upload'
  /** If-None-Match or If-Match did not hold. */
  | 'precondition'
  | 'range'
  | 'denied'
  | 'clock'
  | 'tls'
  | 'unsupported'
  | 'permanent';

export interface Diagnosis {
  readonly fault: Fault;
  /** S3's code, errno, or the error's name. */
  readonly code: string;
  readonly status: number | undefined;
  readonly message: string;
  /** Where the bucket is, when the store said so. */
  readonly region: string | undefined;
}

/** S3's codes that say more than their status. API Reference, "Error responses". */
const BY_CODE: Readonly<Record<string, Fault>> = {
  ExpiredToken: 'expired',
  ExpiredTokenException: 'expired',
  TokenRefreshRequired: 'expired',
  PermanentRedirect: 'region',
  TemporaryRedirect: 'region',
  AuthorizationHeaderMalformed: 'region',
  IllegalLocationConstraintException: 'region',
  NoSuchKey: 'missing',
  NotFound: 'missing',
  NoSuchBucket: 'no-bucket',
  NoSuchUpload: 'no-upload',
  PreconditionFailed: 'precondition',
  InvalidRange: 'range',
  AccessDenied: 'denied',
  InvalidAccessKeyId: 'denied',
  SignatureDoesNotMatch: 'denied',
  CredentialsProviderError: 'denied',
  RequestTimeTooSkewed: 'clock',
  RequestInTheFuture: 'clock',
  NotImplemented: 'unsupported',
  // The bytes changed on their way: the next attempt sends them again.
  BadDigest: 'transient',
  InvalidDigest: 'transient',
  XAmzContentChecksumMismatch: 'transient',
  XAmzContentSHA256Mismatch: 'transient',
  IncompleteBody: 'transient',
  RequestTimeout: 'transient',
  TimeoutError: 'transient',
  SlowDown: 'transient',
  InternalError: 'transient',
  OperationAborted: 'transient',
  ConditionalRequestConflict: 'transient',
};

/** 499: a proxy says that we hung up; it may have been another proxy before it. 5xx as a whole but 501. */
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 409, 425, 429, 499]);

const TLS = /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|HOSTNAME_MISMATCH|EPROTO$)/;

const NETWORK: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

const OLD_SERVER = 'set `checksum: none` for older S3 servers; backups are then verified by size and our own SHA-256';
const DIGESTS: ReadonlySet<string> = new Set(['BadDigest', 'InvalidDigest', 'XAmzContentChecksumMismatch', 'XAmzContentSHA256Mismatch']);

/** Clocks that differ by more than this are refused (S3's limit: 15 minutes). */
const SKEW_MS = 15 * 60_000;

interface SdkError extends Error {
  code?: unknown;
  Code?: unknown;
  Region?: unknown;
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Record<string, string> };
}

/** Never throws, whatever was thrown. */
export function diagnose(thrown: unknown, now: number = Date.now()): Diagnosis {
  const error = asError(thrown) as SdkError;
  const status = error.$metadata?.httpStatusCode;
  const headers = error.$response?.headers ?? {};
  const code = codeOf(error);
  const region = headers['x-amz-bucket-region'] ?? (typeof error.Region === 'string' ? error.Region : undefined);
  return { fault: faultOf(code, status, headers, error.message, now), code, status, message: error.message, region };
}

function codeOf(error: SdkError): string {
  if (typeof error.code === 'string') return error.code;
  if (typeof error.Code === 'string') return error.Code;
  return error.name;
}

function faultOf(code: string, status: number | undefined, headers: Record<string, string>, message: string, now: number): Fault {
  // A HEAD has no body and so no code: the Date header tells a wrong clock from a wrong key.
  if (status === 403 && Math.abs(now - Date.parse(headers['date'] ?? '')) > SKEW_MS) return 'clock';
  const known = BY_CODE[code];
  if (known !== undefined) return known;
  if (TLS.test(code)) return 'tls';
  if (NETWORK.has(code)) return 'transient';
  if (status === undefined) return /socket hang up|aborted|premature/i.test(message) ? 'transient' : 'permanent';
  if (TRANSIENT_STATUS.has(status) || (status >= 500 && status !== 501)) return 'transient';
  // A success whose body is no answer: cut off, or a proxy's page.
  if (status < 300) return 'transient';
  if (status === 301 || status === 307) return 'region';
  if (status === 401 || status === 403) return 'denied';
  if (status === 404) return 'missing';
  if (status === 412) return 'precondition';
  if (status === 416) return 'range';
  if (status === 501 || /checksum|x-amz-sdk|trailer/i.test(message)) return 'unsupported';
  return 'permanent';
}

/** The error to show, after the last attempt. */
export function faultError(diagnosis: Diagnosis, what: string, attempts: number, cause: unknown): WardenError {
  const { code, status, message, region } = diagnosis;
  const answer = `${code}${status === undefined ? '' : ` (${status})`}${message === '' || message === code ? '' : `: ${message}`}`;
  switch (diagnosis.fault) {
    case 'transient': {
      const timedOut = code === 'TimeoutError' || code === 'ETIMEDOUT';
      return new WardenError(timedOut ? 'timeout' : 'store-unavailable', `${what} failed ${attempts} times, last with ${answer}`, {
        // Damaged every time: rather a server that stores or checks something else than what was sent.
        hint: DIGESTS.has(code) ? OLD_SERVER : undefined,
        cause,
      });
    }
    case 'no-bucket':
      return new WardenError('store-unavailable', `${what}: there is no such bucket`, {
        hint: 'create the bucket first, or correct its name, endpoint or region',
        cause,
      });
    case 'region':
      return new WardenError('store-unavailable', `${what}: the bucket is in another region${region === undefined ? '' : `, ${region}`}`, {
        hint: region === undefined ? 'set the region of this store' : `set the region of this store to ${region}`,
        cause,
      });
    case 'clock':
      return new WardenError('store-denied', `${what}: the clock of this machine differs too much from the store's (${code})`, {
        hint: 'synchronise the clock (chronyd, systemd-timesyncd); backups are named after it too',
        cause,
      });
    case 'expired':
    case 'denied':
      return new WardenError('store-denied', `${what} is not allowed: ${answer}`, {
        hint: 'the store needs s3:ListBucket, GetObject, PutObject, DeleteObject, AbortMultipartUpload and ListBucketMultipartUploads',
        cause,
      });
    case 'tls':
      return new WardenError('store-unavailable', `${what}: no trusted connection: ${answer}`, {
        hint: 'name the authority that signed the certificate with caFile, and use a host name that is in it',
        cause,
      });
    case 'unsupported':
      return new WardenError('store-unavailable', `${what} is more than this server can do: ${answer}`, {
        hint: OLD_SERVER,
        cause,
      });
    case 'missing':
    case 'no-upload':
    case 'precondition':
    case 'range':
    case 'permanent':
      return new WardenError('failed', `${what} failed: ${answer}`, { cause });
  }
}
