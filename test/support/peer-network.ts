import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { reset } from './reset.ts';

/**
 * The wires between the members of a cluster. One address leads to each member, so who is calling is known only from the header that etcd's
 * rafthttp sends with each request (`X-Server-From`, server/etcdserver/api/rafthttp/util.go and stream.go).
 */
export interface PeerNetwork extends AsyncDisposable {
  /** An address for other members that leads to this one. */
  wire(name: string, target: string): Promise<string>;
  /** From now on nobody reaches the member and it reaches nobody: connections are reset, new ones refused. */
  isolate(name: string, memberId: bigint): void;
  /** Everybody reaches everybody again. */
  heal(): void;
  close(): Promise<void>;
}

interface Wire {
  readonly to: string;
  from: string | undefined;
  readonly sockets: readonly Socket[];
}

const FROM = /^x-server-from: ([0-9a-f]+)\r$/im;

export function peerNetwork(): PeerNetwork {
  const servers: Server[] = [];
  const wires = new Set<Wire>();
  /** Names and ids of who is cut off. */
  const isolated = new Set<string>();

  function cut(wire: Wire): boolean {
    const broken = isolated.has(wire.to) || (wire.from !== undefined && isolated.has(wire.from));
    if (broken) for (const socket of wire.sockets) reset(socket);
    return broken;
  }

  async function wireTo(name: string, target: string): Promise<string> {
    const url = new URL(target);
    const server = createServer((caller) => {
      const member = connect({ port: Number(url.port), host: url.hostname });
      const wire: Wire = { to: name, from: undefined, sockets: [caller, member] };
      wires.add(wire);
      for (const socket of wire.sockets) {
        socket.setNoDelay(true).on('error', () => undefined);
        socket.on('close', () => {
          wires.delete(wire);
          for (const other of wire.sockets) other.destroy();
        });
      }
      if (cut(wire)) return;
      caller.on('data', (chunk: Buffer) => {
        // A request begins a chunk: Go writes its head in one piece. Later ones on the same connection come from the same member.
        wire.from ??= FROM.exec(chunk.subarray(0, 4096).toString('latin1'))?.[1];
        if (!cut(wire) && !member.write(chunk)) {
          caller.pause();
          member.once('drain', () => caller.resume());
        }
      });
      member.pipe(caller);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async function close(): Promise<void> {
    for (const wire of wires) for (const socket of wire.sockets) socket.destroy();
    await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  }
  return {
    wire: wireTo,
    isolate(name, memberId) {
      isolated.add(name).add(memberId.toString(16));
      for (const wire of wires) cut(wire);
    },
    heal() {
      isolated.clear();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
