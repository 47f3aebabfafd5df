import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the range from which Linux takes the ports of outgoing connections (32768-60999), so that a stopped member's port stays free. */
const PORTS = { from: 12_000, to: 32_000 };

/**
 * Loopback ports that nobody listens on, given to nobody else before this process ends: a member that was killed comes back on its own, and two members that
 * start at the same moment, of this process or of another one's tests, never get the same. They did, when ports were only looked at: a member whose metrics
 * port was another's client port joined, seemed healthy since the other answered there, and died.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = randomInt(PORTS.from, PORTS.to);
    if ((await reserve(port)) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

/** The UDP port of the same number is the mark: nobody here uses UDP, a bind is exclusive on the whole machine, and it ends with the process. */
async function reserve(port: number): Promise<boolean> {
  const mark = createSocket('udp4');
  const bound = once(mark, 'listening');
  mark.bind({ port, address: '127.0.0.1', exclusive: true });
  try {
    await bound;
    mark.unref();
    return true;
  } catch {
    mark.close();
    return false;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
