/**
 * The bytes of a snapshot stream, taken apart without copying. A gRPC message is five bytes (compressed or not, length) and then a
 * SnapshotResponse: 1 header (never sent here), 2 remaining_bytes uint64, 3 blob bytes, 4 version string (3.6+). etcd writes the fields in this
 * order, so the blob can be handed on piece by piece as it arrives; in another order the lengths would not add up, and the intake refuses them.
 *
 * A general decoder needs each message whole, which copies every byte of the database once more: with grpc-js that is most of the client's work.
 */
import type { SnapshotMessage } from './types.ts';

const PREFIX_LENGTH = 5;
const FIELD = { remaining: 2, blob: 3, version: 4 } as const;
const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
/** A version is a few characters; whatever else comes is not kept. */
const MAX_VERSION = 64;

type State = 'prefix' | 'tag' | 'remaining' | 'number' | 'length' | 'blob' | 'version' | 'skip';

export interface SnapshotParser {
  /** @throws Error when the bytes are no such messages. */
  write(chunk: Buffer): void;
  /** Between two messages: the stream may end here. */
  readonly atBoundary: boolean;
}

/** @param onPiece gets every piece of a blob that holds bytes, with what remains after it. The piece is a view of the chunk. */
export function createSnapshotParser(onPiece: (piece: SnapshotMessage) => void): SnapshotParser {
  let state: State = 'prefix';
  let prefixRead = 0;
  /** Bytes of the message still to come. */
  let messageLeft = 0;
  /** Bytes of the field still to come. */
  let fieldLeft = 0;
  let field = 0;
  let wire: number = WIRE.varint;
  let value = 0;
  let scale = 1;
  let remaining = 0;
  let text = '';
  let version: string | undefined;

  function write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (state === 'blob') {
        const end = Math.min(chunk.length, at + fieldLeft);
        fieldLeft -= end - at;
        messageLeft -= end - at;
        onPiece({ blob: at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end), remaining: remaining + fieldLeft, version });
        at = end;
        if (fieldLeft === 0) fieldEnds();
      } else {
        readByte(chunk[at]!);
        at++;
      }
    }
  }

  function readByte(byte: number): void {
    if (state === 'prefix') {
      readPrefix(byte);
      return;
    }
    messageLeft--;
    if (state === 'version' || state === 'skip') {
      if (state === 'version' && text.length < MAX_VERSION) text += String.fromCharCode(byte);
      fieldLeft--;
      if (fieldLeft === 0) fieldEnds();
      return;
    }
    // A number of 7 bits a byte, the lowest first. Exact to 2^53, which no database reaches.
    value += (byte & 0x7f) * scale;
    if (byte >= 0x80) {
      scale *= 128;
      if (scale > 2 ** 70 || messageLeft === 0) throw new Error('the snapshot stream holds a number without end');
      return;
    }
    const number = value;
    value = 0;
    scale = 1;
    if (state === 'tag') tagEnds(number);
    else if (state === 'length') lengthEnds(number);
    else {
      if (state === 'remaining') remaining = number;
      fieldEnds();
    }
  }

  function readPrefix(byte: number): void {
    if (prefixRead === 0) {
      // We accept no compression, so nobody may compress.
      if (byte !== 0) throw new Error(`the snapshot stream holds a message with flag ${byte}`);
      messageLeft = 0;
    } else {
      messageLeft = messageLeft * 256 + byte;
    }
    prefixRead++;
    if (prefixRead < PREFIX_LENGTH) return;
    prefixRead = 0;
    remaining = 0; // zero is not written
    if (messageLeft > 0) state = 'tag';
  }

  function tagEnds(tag: number): void {
    field = Math.floor(tag / 8);
    wire = tag % 8;
    if (wire === WIRE.varint) state = field === FIELD.remaining ? 'remaining' : 'number';
    else if (wire === WIRE.bytes) state = 'length';
    else if (wire === WIRE.fixed64 || wire === WIRE.fixed32) {
      state = 'skip';
      fieldLeft = wire === WIRE.fixed64 ? 8 : 4;
    } else throw new Error(`the snapshot stream holds wire type ${wire}`);
    if (messageLeft === 0) throw new Error('a message of the snapshot stream ends inside a field');
    checkField();
  }

  function lengthEnds(length: number): void {
    fieldLeft = length;
    checkField();
    text = '';
    state = field === FIELD.blob ? 'blob' : field === FIELD.version ? 'version' : 'skip';
    if (length === 0) fieldEnds();
  }

  function checkField(): void {
    if (fieldLeft > messageLeft) throw new Error(`a message of the snapshot stream ends inside a field of ${fieldLeft} bytes`);
  }

  function fieldEnds(): void {
    if (state === 'version') version = text || undefined;
    fieldLeft = 0;
    state = messageLeft === 0 ? 'prefix' : 'tag';
  }

  return {
    write,
    get atBoundary() {
      return state === 'prefix' && prefixRead === 0;
    },
  };
}
