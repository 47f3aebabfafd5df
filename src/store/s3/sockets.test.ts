import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PlainAgent } from './sockets.ts';

/** Longer than any buffer on the way, and no two places alike. */
const body = Buffer.alloc(8 << 20);
for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);

let answer: (request: IncomingMessage, response: ServerResponse) => void;
let connections = 0;
const server = createServer((request, response) => answer(request, response)).on('connection', () => connections++);

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function ask(agent: PlainAgent): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo;
  const [response] = (await once(get({ host: '127.0.0.1', port, agent }), 'response')) as [IncomingMessage];
  return response;
}

async function blocksOf(response: IncomingMessage): Promise<Buffer[]> {
  const blocks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) blocks.push(chunk);
  return blocks;
}

describe('a connection that reads into one buffer', () => {
  test('hands on the bytes that were sent, many at a time, and none of them changes afterwards', async () => {
    answer = (_, response) => response.end(body);
    const agent = new PlainAgent();
    const whole = await blocksOf(await ask(agent));
    expect(Buffer.concat(whole).equals(body)).toBe(true);
    // What Node reads at once without it.
    expect(Math.max(...whole.map(({ length }) => length))).toBeGreaterThan(64 << 10);
    agent.destroy();
  });

  test('is used again for the next request', async () => {
    connections = 0;
    const agent = new PlainAgent({ keepAlive: true });
    for (const text of ['one', 'two', 'three']) {
      answer = (_, response) => response.end(text);
      // oxlint-disable-next-line no-await-in-loop -- on the connection of the one before
      expect(Buffer.concat(await blocksOf(await ask(agent))).toString()).toBe(text);
    }
    expect(connections).toBe(1);
    agent.destroy();
  });

  test('holds the sender back while nobody reads', async () => {
    let waiting = false;
    answer = (_, response) => {
      waiting = !response.write(body);
      response.end();
    };
    const agent = new PlainAgent();
    const response = await ask(agent);
    await once(response, 'readable');
    expect(waiting).toBe(true);
    expect(response.readableLength).toBeLessThanOrEqual(2 << 20);
    expect(Buffer.concat(await blocksOf(response)).equals(body)).toBe(true);
    agent.destroy();
  });

  test('fails the reader when it breaks off', async () => {
    answer = (_, response) => {
      response.setHeader('content-length', body.length);
      response.write(body.subarray(0, 1 << 20), () => response.destroy());
    };
    const agent = new PlainAgent();
    await expect(ask(agent).then(blocksOf)).rejects.toMatchObject({ code: 'ECONNRESET' });
    agent.destroy();
  });
});
