/** Reading objects: in order, from where the last connection broke off, and never standing still unnoticed. */
import type { Readable } from 'node:stream';
import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { asError, WardenError } from '../../errors.ts';
import { missing, tooLong, tooShort } from '../object-errors.ts';
import type { CallOptions, Range } from '../types.ts';
import type { Bucket } from './bucket.ts';
import { CallFault, timeoutError, type Calls } from './calls.ts';
import { diagnose, faultError } from './faults.ts';
import { gather, type Gathered } from './gather.ts';

/** So many bytes of progress forgive earlier failures: a long read over a bad line must not die of the sum of its interruptions. */
const FORGIVEN_AFTER = 1 << 20;

interface Reading {
  readonly key: string;
  /** The next byte wanted. */
  at: number;
  /** The byte after the last one wanted; undefined until the first answer when no range was asked for. */
  end: number | undefined;
  /** Of the first answer: the rest must come from the same object. */
  etag: string | undefined;
}

export interface ReadOptions extends CallOptions {
  readonly range?: Range | undefined;
  /** Nothing is read of what is longer. */
  readonly maxLength?: number | undefined;
}

/** The bytes of an object or range in order. @throws WardenError `object-missing`, `verification-failed` when it is shorter than asked for, `refused` */
export async function* readObject(calls: Calls, bucket: Bucket, key: string, options: ReadOptions): AsyncGenerator<Buffer> {
  const { range, maxLength = Infinity } = options;
  const reading: Reading = {
    key,
    at: range?.offset ?? 0,
    end: range === undefined ? undefined : range.offset + range.length,
    etag: undefined,
  };
  bucket.full(key);
  for (let failures = 0, from = reading.at; reading.end === undefined || reading.at < reading.end;) {
    const attempt = new AbortController();
    const signal = AbortSignal.any([options.signal, attempt.signal]);
    try {
      // oxlint-disable-next-line no-await-in-loop -- one connection after the other
      const response = await request(calls, bucket, reading, signal);
      // The answer tells it before the first byte is read: asking for it first would be a second call for every manifest.
      const length = (reading.end ?? 0) - (range?.offset ?? 0);
      if (length > maxLength) throw tooLong(calls.location, key, length, maxLength);
      yield* body(calls, reading, response, attempt);
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      if (error instanceof WardenError) throw error;
      const diagnosis = diagnose(attempt.signal.aborted ? attempt.signal.reason : error);
      if (reading.at - from >= FORGIVEN_AFTER) failures = 0;
      from = reading.at;
      failures++;
      if (diagnosis.fault !== 'transient' || failures > calls.retries)
        throw faultError(diagnosis, `${calls.location}: GET of ${key}`, failures, error);
      // oxlint-disable-next-line no-await-in-loop -- the point of it
      await calls.pause(failures, options.signal);
    } finally {
      attempt.abort(); // closes the connection when the reader stops early
    }
  }
}

/** Asks for what is still missing and checks that this is what comes. */
async function request(calls: Calls, bucket: Bucket, reading: Reading, signal: AbortSignal): Promise<GetObjectCommandOutput> {
  const { key, at, end } = reading;
  const whole = at === 0 && end === undefined;
  const input = {
    Bucket: bucket.Bucket,
    Key: bucket.full(key),
    ...bucket.forReading(),
    ...(whole ? {} : { Range: `bytes=${at}-${end === undefined ? '' : end - 1}` }),
    ...(reading.etag === undefined ? {} : { IfMatch: reading.etag }),
  };
  let response: GetObjectCommandOutput;
  try {
    // The body outlives the call, so the attempt's signal goes along, and not the one that ends with the call's deadline.
    response = await calls.call(`GET of ${key}`, (client) => client.send(new GetObjectCommand(input), { abortSignal: signal }), {
      signal,
      expects: ['missing', 'range', 'precondition'],
    });
  } catch (error) {
    if (error instanceof CallFault) throw answerOf(calls, reading, error);
    throw error;
  }
  reading.etag ??= response.ETag;
  if (whole) {
    reading.end = response.ContentLength ?? Number.NaN;
    if (Number.isNaN(reading.end)) throw new WardenError('store-misbehaves', `${calls.location}: GET of ${key} came without a length`);
    return response;
  }
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.ContentRange ?? '');
  if (match === null || Number(match[1]) !== at) {
    throw new WardenError(
      'store-misbehaves',
      `${calls.location}: GET of ${key} from byte ${at} was answered with ${response.ContentRange ?? 'the whole object'}`,
    );
  }
  if (end !== undefined && Number(match[2]) + 1 < end) throw tooShort(calls.location, key, Number(match[2]) + 1, end);
  return response;
}

function answerOf(calls: Calls, reading: Reading, fault: CallFault): WardenError {
  const { key, at, end } = reading;
  if (fault.diagnosis.fault === 'missing') return missing(calls.location, key, fault.cause);
  if (fault.diagnosis.fault === 'range') return tooShort(calls.location, key, at, end ?? at);
  return new WardenError('verification-failed', `${calls.location}: ${key} was replaced while it was read`, { cause: fault.cause });
}

async function* body(calls: Calls, reading: Reading, response: GetObjectCommandOutput, attempt: AbortController): AsyncGenerator<Buffer> {
  const next = watchProgress(calls, attempt, gather(response.Body as Readable, (reading.end ?? 0) - reading.at));
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const block = await next();
    const missing = (reading.end ?? 0) - reading.at;
    if (block === undefined) {
      if (missing > 0) throw Object.assign(new Error(`the answer ended ${missing} bytes early`), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
      return;
    }
    if (block.length > missing)
      throw new WardenError('store-misbehaves', `${calls.location}: GET of ${reading.key} brought more bytes than were asked for`);
    reading.at += block.length;
    yield block;
  }
}

/** The next block, or a time-out when less than `minRate` comes for a whole request timeout. The reader's own time between blocks does not count. */
function watchProgress(calls: Calls, attempt: AbortController, gathered: Gathered): () => Promise<Buffer | undefined> {
  const { requestTimeoutMs } = calls;
  const wanted = (calls.tuning.minRate * requestTimeoutMs) / 1000;
  let waited = 0;
  let before = 0; // received when the time began to count
  return async () => {
    let start = performance.now();
    let timer: NodeJS.Timeout;
    function judgeAfter(ms: number): void {
      timer = setTimeout(() => {
        if (gathered.received - before < wanted) attempt.abort(timeoutError(requestTimeoutMs));
        else begin();
      }, ms);
    }
    function begin(): void {
      start = performance.now();
      waited = 0;
      before = gathered.received;
      judgeAfter(requestTimeoutMs);
    }
    judgeAfter(Math.max(0, requestTimeoutMs - waited));
    try {
      const block = await gathered.next();
      waited += performance.now() - start;
      if (gathered.received - before >= wanted) {
        waited = 0;
        before = gathered.received;
      }
      return block;
    } catch (error) {
      throw attempt.signal.aborted ? asError(attempt.signal.reason) : error;
    } finally {
      clearTimeout(timer!);
    }
  };
}
