/**
 * Connections without TLS that read into one buffer each. Node otherwise allocates 64 KiB for every read, and the HTTP parser copies them into as many again: of what a
 * stream of 400 MiB took, half were these buffers, their page faults and their collection (0.65 CPU seconds against 1.3). With TLS
 * the records, of 16 KiB at most, come out of a buffer of OpenSSL's.
 */
import { Agent, type ClientRequestArgs } from 'node:http';
import type { Duplex } from 'node:stream';

/** A read takes what the kernel has; the pages of this that no read ever reaches cost nothing. */
const READ_BYTES = 1 << 20;

/** `onread` of node:net, the options of which the agent hands through. */
interface WithBuffer extends ClientRequestArgs {
  readonly onread: { readonly buffer: Buffer; readonly callback: (length: number, buffer: Uint8Array) => boolean };
}

export class PlainAgent extends Agent {
  // A proxy's connection is made from other options, and reads as Node does.
  override createConnection(
    options: ClientRequestArgs,
    onCreated?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const buffered: WithBuffer = {
      ...options,
      onread: {
        buffer,
        callback(length) {
          // Whoever listens is done with the bytes when this returns: the HTTP parser copies what it hands on.
          socket?.emit('data', buffer.subarray(0, length));
          return true;
        },
      },
    };
    const socket: Duplex | null | undefined = super.createConnection(buffered, onCreated);
    return socket;
  }
}
