import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { reset } from './reset.ts';

/** A wire between a client and a member that can be bent and cut. Faults meet the open connections as well as new ones. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** `scheme://127.0.0.1:port`, with the scheme of the target. */
  readonly endpoint: string;
  /** Connections that are open now. */
  readonly open: number;
  /** Bytes that went from the target to clients so far. */
  readonly received: number;
  /** Nothing goes through in either direction, and nothing is lost: it goes on at `resume`. */
  pause(): void;
  resume(): void;
  /** Resets all open connections. */
  reset(): void;
  /** Everything arrives later by this many milliseconds. */
  delay(ms: number): void;
  /** Like a firewall that drops packets: what is sent from now on is lost, connections open and stay. Undone by `heal`. */
  blackhole(): void;
  /** Bytes per second from the target to each client; 0 = as fast as possible. */
  limit(bytesPerSecond: number): void;
  /** Resets the connection on which that many more bytes have come from the target, then works as before. Resolves when it was done. */
  cutAfter(bytes: number): Promise<void>;
  /** New connections are refused: reset at once. Undone by `heal`. */
  refuse(): void;
  /** As when an address is given to another machine: open connections are reset, and new ones lead there. */
  switchTo(target: string): void;
  /** No fault from now on. Connections that lost bytes are reset. */
  heal(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(target: string): Promise<TcpProxy> {
  let url = new URL(target);
  const sockets = new Set<Socket>();
  const faults = { paused: false, blackhole: false, refuse: false, delayMs: 0, rate: 0 };
  let woken = Promise.withResolvers<void>();
  let cut: { left: number; done: () => void } | undefined;
  let received = 0;

  function wake(): void {
    woken.resolve();
    woken = Promise.withResolvers<void>();
  }

  /** Bytes of one direction pass through here. */
  function gate(downstream: boolean): Transform {
    // On their way: a delay must not slow the stream down, so the next bytes are taken before these have arrived.
    const late: Buffer[] = [];
    let due = 0;
    let arrived = Promise.withResolvers<void>();
    return new Transform({
      async transform(chunk: Buffer, _encoding, done) {
        if (downstream) received += chunk.length;
        while (faults.paused && !this.destroyed) await woken.promise;
        if (faults.blackhole) {
          done();
          return;
        }
        if (downstream && faults.rate > 0) await delay((chunk.length / faults.rate) * 1000);
        if (downstream && cut !== undefined) {
          cut.left -= chunk.length;
          if (cut.left < 0) {
            const { done: finished } = cut;
            const kept = chunk.subarray(0, Math.max(0, chunk.length + cut.left));
            cut = undefined;
            this.push(kept);
            // What came before the cut must reach the client first.
            await delay(10);
            done(new Error('cut'));
            finished();
            return;
          }
        }
        if (faults.delayMs === 0 && late.length === 0) {
          done(null, chunk);
          return;
        }
        due = Math.max(due, performance.now() + faults.delayMs);
        if (late.push(chunk) === 1) arrived = Promise.withResolvers<void>();
        setTimeout(() => {
          const next = late.shift();
          if (!this.destroyed) this.push(next);
          if (late.length === 0) arrived.resolve();
        }, due - performance.now());
        done();
      },
      async flush(done) {
        if (late.length > 0) await arrived.promise;
        done();
      },
    });
  }

  // Half-open: an end in one direction must not cut the bytes that are still to come in the other.
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (faults.refuse) {
      client.on('error', () => undefined);
      reset(client);
      return;
    }
    const member = connect({ port: Number(url.port), host: url.hostname, allowHalfOpen: true });
    const up = gate(false);
    const down = gate(true);
    client.pipe(up).pipe(member);
    member.pipe(down).pipe(client);
    function drop(): void {
      for (const stream of [up, down]) stream.destroy();
      for (const socket of [client, member]) {
        sockets.delete(socket);
        reset(socket);
      }
    }
    for (const socket of [client, member]) {
      sockets.add(socket);
      socket.setNoDelay(true).on('error', drop);
      socket.on('close', (hadError) => {
        sockets.delete(socket);
        if (hadError) drop();
        else if (client.destroyed && member.destroyed) drop();
        // The other side has ended too, once what is under way has arrived; a client that is gone takes nothing any more.
        else if (socket === client) member.destroy();
      });
    }
    for (const stream of [up, down]) stream.on('error', drop);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  function resetAll(): void {
    for (const socket of sockets) reset(socket);
  }
  async function close(): Promise<void> {
    faults.paused = false;
    wake();
    resetAll();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
  return {
    port,
    endpoint: `${url.protocol}//127.0.0.1:${port}`,
    get open() {
      return sockets.size / 2;
    },
    get received() {
      return received;
    },
    pause() {
      faults.paused = true;
    },
    resume() {
      faults.paused = false;
      wake();
    },
    reset: resetAll,
    delay(ms) {
      faults.delayMs = ms;
    },
    blackhole() {
      faults.blackhole = true;
    },
    limit(bytesPerSecond) {
      faults.rate = bytesPerSecond;
    },
    cutAfter(bytes) {
      const { promise, resolve } = Promise.withResolvers<void>();
      cut = { left: bytes, done: resolve };
      return promise;
    },
    refuse() {
      faults.refuse = true;
    },
    switchTo(other) {
      url = new URL(other);
      resetAll();
    },
    heal() {
      if (faults.blackhole) resetAll();
      Object.assign(faults, { paused: false, blackhole: false, refuse: false, delayMs: 0, rate: 0 });
      cut = undefined;
      wake();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
