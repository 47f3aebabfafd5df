import type { Socket } from 'node:net';

/**
 * Ends a connection with a TCP reset and nothing else. `socket.resetAndDestroy()` ends the writing side first, so that the peer may see an
 * orderly end before the reset; destroying with this flag of Node's set does not.
 */
export function reset(socket: Socket): void {
  if (socket.destroyed) return;
  Object.assign(socket, { resetAndClosing: true }).destroy();
}
