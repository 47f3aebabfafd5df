import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../support/processes.ts';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

// An echo server: what comes back has gone through the proxy twice.
let echo: Server;
let proxy: TcpProxy;
let client: Socket;
let got: Buffer;
let end: string | undefined;

async function open(): Promise<void> {
  const socket = connect(proxy.port, '127.0.0.1');
  client = socket;
  got = Buffer.alloc(0);
  end = undefined;
  // The last test's connection may still have something to say.
  const current = (): boolean => client === socket;
  socket.on('data', (chunk) => {
    if (current()) got = Buffer.concat([got, chunk]);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (current()) end ??= error.code;
  });
  socket.on('close', () => {
    if (current()) end ??= 'closed';
  });
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
}
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 100));
}

beforeEach(async () => {
  echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  proxy = await startTcpProxy(`http://127.0.0.1:${(echo.address() as AddressInfo).port}`);
  await open();
});
afterEach(async () => {
  client.destroy();
  await proxy.close();
  await new Promise((resolve) => echo.close(resolve));
});

describe('the TCP proxy', () => {
  test('passes bytes both ways and passes the end on', async () => {
    client.end('hello');
    await until(() => end !== undefined, 'no end');
    expect([got.toString(), end]).toEqual(['hello', 'closed']);
    expect(proxy.received).toBe(5);
    await until(() => proxy.open === 0, 'still open');
  });

  test('holds bytes back while paused, and loses none', async () => {
    proxy.pause();
    client.write('held');
    await settled();
    expect(got).toHaveLength(0);
    proxy.resume();
    await until(() => got.toString() === 'held', 'nothing came');
  });

  test('resets open connections, and takes new ones', async () => {
    await until(() => proxy.open === 1, 'not open');
    proxy.reset();
    await until(() => end !== undefined, 'not reset');
    expect(end).toBe('ECONNRESET');
    await open();
    client.write('again');
    await until(() => got.toString() === 'again', 'nothing came');
  });

  test('delays what passes without slowing the stream down', async () => {
    proxy.delay(100);
    const start = performance.now();
    client.write(Buffer.alloc(2 * 1024 * 1024));
    await until(() => got.length === 2 * 1024 * 1024, 'not all came');
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(195);
    // 32 chunks of 64 KiB and as many delays would be more than three seconds.
    expect(took).toBeLessThan(3_000);
  });

  test('swallows bytes like a firewall, and resets those connections when it is healed', async () => {
    proxy.blackhole();
    client.write('lost');
    await settled();
    expect([got.length, end]).toEqual([0, undefined]);
    proxy.heal();
    await until(() => end === 'ECONNRESET', 'not reset');
    await open();
    client.write('again');
    await until(() => got.toString() === 'again', 'nothing came');
  });

  test('cuts a connection after an exact number of bytes', async () => {
    const cut = proxy.cutAfter(1000);
    client.write(Buffer.alloc(5000));
    await cut;
    await until(() => end !== undefined, 'not cut');
    expect([got.length, end]).toEqual([1000, 'ECONNRESET']);
  });

  test('limits the rate of answers', async () => {
    proxy.limit(100_000);
    const start = performance.now();
    client.write(Buffer.alloc(30_000));
    await until(() => got.length === 30_000, 'not all came');
    expect(performance.now() - start).toBeGreaterThan(250);
  });

  test('refuses connections until it is healed', async () => {
    proxy.refuse();
    await open();
    await until(() => end === 'ECONNRESET', 'not refused');
    proxy.heal();
    await open();
    client.write('hello');
    await until(() => got.toString() === 'hello', 'nothing came');
  });
});
