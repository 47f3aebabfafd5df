/**
 * The body of an answer, put together into blocks as large as a folder's store reads them. Over TLS it comes in pieces of 4 to 16 KiB, and each would cost
 * every stage behind this one a turn: for 400 MiB in pieces of 4 KiB a CPU second here, and as much again where they are decoded.
 */
import { finished, type Readable } from 'node:stream';

/** As src/store/local/read.ts. */
const BLOCK = 1 << 20;

/** A piece so large is a block by itself: collecting it would only copy it. */
const LARGE = 1 << 18;

/** Blocks that may wait for the reader, beside the one that is being filled. */
const AHEAD = 2;

export interface Gathered {
  /** Bytes that have come. */
  readonly received: number;
  /** The next block, of which the reader is the only owner; undefined after the last. What the body failed with comes after all that came before. */
  next(): Promise<Buffer | undefined>;
}

/** @param expected how many bytes are to come; more are handed on as well */
export function gather(body: Readable, expected: number): Gathered {
  const ready: Buffer[] = [];
  let block: Buffer | undefined;
  let filled = 0;
  let received = 0;
  let end: { readonly error: Error | null | undefined } | undefined;
  let wake: (() => void) | undefined;

  function handOver(): void {
    if (block !== undefined) ready.push(filled === block.length ? block : block.subarray(0, filled));
    block = undefined;
    filled = 0;
  }

  function collect(piece: Buffer): void {
    for (let at = 0; at < piece.length;) {
      block ??= Buffer.allocUnsafeSlow(Math.min(BLOCK, Math.max(expected - received, piece.length - at)));
      const copied = piece.copy(block, filled, at);
      at += copied;
      filled += copied;
      received += copied;
      if (filled === block.length) handOver();
    }
    release(piece);
  }

  body.on('data', (piece: Buffer) => {
    if (piece.length >= LARGE) {
      handOver();
      ready.push(piece);
      received += piece.length;
    } else collect(piece);
    if (ready.length >= AHEAD) body.pause();
    if (ready.length > 0) wake?.();
  });
  // Stays until the end: a connection that breaks when nobody reads any more must not end the process.
  finished(body, { writable: false }, (error) => {
    handOver();
    end = { error };
    wake?.();
  });

  return {
    get received() {
      return received;
    },
    async next() {
      if (ready.length === 0 && end === undefined) await new Promise<void>((resolve) => (wake = resolve));
      wake = undefined;
      const next = ready.shift();
      if (body.isPaused()) body.resume();
      if (next === undefined && end?.error) throw end.error;
      return next;
    },
  };
}

/** At once instead of at the next collection: thousands of them hold a hundred MiB. What shares its memory with others is left alone. */
function release({ buffer, length }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0);
}
