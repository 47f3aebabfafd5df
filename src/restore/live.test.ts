import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTcp, type AddressInfo, type Server } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { createAuthority } from '../../test/support/certificates.ts';
import { newCluster, parseInitialCluster } from './identity.ts';
import { askPeers, isOfThisMachine, type EndpointSight, type PeerSight } from './live-ask.ts';
import { judgeLiving, lookForLiving, refuseLiveCluster } from './live.ts';

const { signal } = new AbortController();
const limits = { signal, patienceMs: 100 };
const THREE = newCluster(parseInitialCluster('m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380'), 'restore-1');
const OTHER = 0xabcn;

const peer = (index: number, clusterId?: bigint): PeerSight => ({
  member: `m${index}`,
  url: `http://10.0.0.${index}:2380`,
  clusterId,
  started: [],
  ...(clusterId === undefined ? { why: 'it hangs up' } : {}),
});
const endpoint = (index: number, clusterId: bigint): EndpointSight => ({
  endpoint: `http://10.0.0.${index}:2379`,
  clusterId,
  peerUrls: [`http://10.0.0.${index}:2380`],
  started: [],
});

describe('who answers where the new cluster is to be', () => {
  const judge = (
    peers: readonly PeerSight[],
    endpoints: readonly EndpointSight[] = [],
    ownUrls: readonly string[] = [],
  ): ReturnType<typeof judgeLiving> => judgeLiving(THREE, ['m3'], { peers, endpoints, ownUrls });

  test('nobody, as after a disaster', () => {
    expect(judge([])).toEqual({ notes: [] });
  });

  test('a quorum of another cluster: what is wanted is `member replace`', () => {
    const { refusal } = judge([peer(1, OTHER), peer(2, OTHER)]);
    expect(refusal).toMatchObject({
      code: 'refused',
      message: `2 of 3 members run already: m1 at http://10.0.0.1:2380 as cluster abc, m2 at http://10.0.0.2:2380 as cluster abc; this restore makes cluster ${THREE.clusterId.toString(16)}`,
      hint: expect.stringContaining('`etcd-warden member replace m3`'),
    });
  });

  test('a quorum that only the client endpoints tell of, since the peers want a certificate', () => {
    expect(judge([peer(1), peer(2)], [endpoint(1, OTHER), endpoint(2, OTHER)]).refusal?.code).toBe('refused');
    // Both ways to one member are one member.
    expect(judge([peer(1, OTHER)], [endpoint(1, OTHER)]).refusal).toBeUndefined();
  });

  test('less than a quorum: to be stopped, said as a note', () => {
    expect(judge([peer(1, OTHER)])).toEqual({
      notes: ['m1 at http://10.0.0.1:2380 as cluster abc still runs: stop it before any member of the new cluster is started'],
    });
  });

  test('the members of this very restore, which the others start on their own machines', () => {
    expect(judge([peer(1, THREE.clusterId), peer(2, THREE.clusterId)], [endpoint(1, THREE.clusterId)])).toEqual({ notes: [] });
  });

  test('a member that was started in this very cluster and lost its directory: a restore would bring it back without what it acknowledged', () => {
    const started = ['http://10.0.0.1:2380', 'http://10.0.0.3:2380'];
    for (const { refusal } of [
      judge([{ ...peer(1, THREE.clusterId), started }]),
      judge([], [{ ...endpoint(1, THREE.clusterId), started }]),
    ])
      expect(refusal).toMatchObject({
        code: 'refused',
        message: expect.stringContaining('m3 has been started in cluster'),
        hint: expect.stringContaining('`etcd-warden member replace m3`'),
      });
    // In another cluster it may have been whatever it was; here it was not started yet.
    expect(judge([{ ...peer(1, OTHER), started }]).refusal).toBeUndefined();
    expect(judge([{ ...peer(1, THREE.clusterId), started: started.slice(0, 1) }]).refusal).toBeUndefined();
  });

  test('somebody who cannot be asked, and a cluster elsewhere: notes', () => {
    expect(judge([peer(2)], [endpoint(9, OTHER)])).toEqual({
      notes: [
        'somebody listens at http://10.0.0.2:2380, the peer URL of m2, and cannot be asked who it is: it hangs up',
        'cluster abc answers at http://10.0.0.9:2379, with none of these peer URLs: it is left alone',
      ],
    });
  });

  test.each([
    [undefined, 'a process listens on this machine at http://10.0.0.3:2380, the peer URL of m3'],
    [OTHER, 'a member of cluster abc listens on this machine'],
    [THREE.clusterId, 'which this restore made: it has been started already'],
  ])('fault 72: the member to be made runs on this machine (%#)', (clusterId, sentence) => {
    expect(judge([peer(3, clusterId)], [], ['http://10.0.0.3:2380']).refusal).toMatchObject({
      code: 'refused',
      message: expect.stringContaining(sentence),
    });
  });

  test('the only member of a cluster of one cannot be replaced, only stopped', () => {
    const one = newCluster(parseInitialCluster('m1=http://10.0.0.1:2380'), 'restore-1');
    expect(judgeLiving(one, ['m1'], { peers: [peer(1, OTHER)], endpoints: [], ownUrls: [] }).refusal).toMatchObject({
      message: expect.stringMatching(/^the member runs already: m1/),
      hint: expect.stringContaining('stop that etcd first'),
    });
  });
});

describe('asking', () => {
  const servers: Server[] = [];
  afterAll(() => servers.forEach((server) => server.close()));

  async function listening(server: Server): Promise<string> {
    servers.push(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  function etcdLike(clusterId: string, list: unknown = []): Server {
    return createHttp((request, response) => {
      if (request.url === '/members') response.setHeader('X-Etcd-Cluster-ID', clusterId);
      response.end(typeof list === 'string' ? list : JSON.stringify(list));
    });
  }

  async function ask(url: string, patienceMs = 10_000): Promise<PeerSight | undefined> {
    const [sight] = await askPeers([{ name: 'm1', peerUrls: [url], id: 1n }], undefined, { signal, patienceMs });
    return sight;
  }

  test('a member says which cluster it is of', async () => {
    const url = `http://${await listening(etcdLike('cdf818194e3a8c32'))}`;
    expect(await ask(url)).toEqual({ member: 'm1', url, clusterId: 0xcdf818194e3a8c32n, started: [] });
  });

  test('what is no member, hangs up, is silent or speaks no TLS listens all the same', async () => {
    const strange = await listening(createHttp((_, response) => response.writeHead(418).end()));
    expect(await ask(`http://${strange}`)).toMatchObject({ clusterId: undefined, why: 'it answers 418, not as a member of etcd' });
    expect(await ask(`https://${strange}`)).toMatchObject({ clusterId: undefined });
    const hanging = await listening(createTcp((socket) => socket.destroy()));
    expect(await ask(`http://${hanging}`)).toMatchObject({ clusterId: undefined });
    const silent = await listening(createTcp((socket) => socket.on('error', () => undefined).resume()));
    expect(await ask(`http://${silent}`, 100)).toMatchObject({ why: 'no answer within 100 ms' });
  });

  test('and which members were started: those that told where they serve clients', async () => {
    const list = [
      { peerURLs: ['http://a:1', 'http://b:1'], clientURLs: ['http://a:2'] },
      { peerURLs: ['http://c:1'], clientURLs: [] },
      { peerURLs: ['http://d:1'] },
      { clientURLs: ['http://e:2'] },
      null,
    ];
    expect((await ask(`http://${await listening(etcdLike('abc', list))}`))?.started).toEqual(['http://a:1', 'http://b:1']);
    for (const odd of ['{"no":"list"}', 'no JSON', 'x'.repeat(200_000)])
      expect(await ask(`http://${await listening(etcdLike('abc', odd))}`)).toMatchObject({ clusterId: 0xabcn, started: [] });
  });

  test('a peer port that wants a certificate: ours is shown where it is still there, theirs is not judged', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'live-'));
    try {
      const authority = createAuthority();
      const { certificate: cert, key } = authority.issue({ commonName: 'm1', names: ['elsewhere.example'] });
      const server = createHttps({ cert, key, ca: authority.certificate, requestCert: true, rejectUnauthorized: true }, (_, response) => {
        response.setHeader('X-Etcd-Cluster-ID', 'abc').end('[]');
      });
      const url = `https://${await listening(server)}`;
      const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
      const members = [{ name: 'm1', peerUrls: [url], id: 1n }];
      // The files are gone with the cluster, or are not there yet.
      for (const tls of [undefined, { certFile, keyFile }]) {
        const [sight] = await askPeers(members, tls, { signal, patienceMs: 10_000 });
        expect(sight).toMatchObject({ url, clusterId: undefined, why: expect.stringMatching(/./) });
      }
      writeFileSync(certFile, cert);
      writeFileSync(keyFile, key);
      expect(await askPeers(members, { certFile, keyFile }, { signal, patienceMs: 10_000 })).toMatchObject([{ clusterId: 0xabcn }]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('nobody there is no answer, at once', async () => {
    const server = etcdLike('1');
    const address = await listening(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await ask(`http://${address}`)).toBeUndefined();
  });

  test('all together: a cluster of one on this machine stands in the way, a caller who gives up does not wait', async () => {
    const address = await listening(etcdLike('abc'));
    const cluster = newCluster(parseInitialCluster(`m1=http://${address}`), 'restore-1');
    const access = {
      name: 'x',
      endpoints: [`http://${address}`],
      requestTimeoutMs: 50,
      dialTimeoutMs: 50,
      streamIdleTimeoutMs: 50,
      discover: false,
    };
    const options = { cluster, targets: ['m1'], access: undefined, signal };
    await expect(refuseLiveCluster(options)).rejects.toMatchObject({ code: 'refused' });
    expect(await refuseLiveCluster({ ...options, cluster: { ...cluster, clusterId: 0xabcn }, targets: [] })).toEqual({
      notes: [],
      running: true,
    });
    // No etcd, so no answer to Status.
    expect(await lookForLiving({ ...options, access })).toMatchObject({ endpoints: [], ownUrls: [`http://${address}`] });
    await expect(refuseLiveCluster({ ...options, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });

  test('which URLs are of this machine', async () => {
    expect(await isOfThisMachine('http://localhost:2380', limits)).toBe(true);
    expect(await isOfThisMachine('http://[::1]:2380', limits)).toBe(true);
    expect(await isOfThisMachine('http://192.0.2.77:2380', limits)).toBe(false);
    expect(await isOfThisMachine('http://no-such-host.invalid:2380', limits)).toBe(false);
  });
});
