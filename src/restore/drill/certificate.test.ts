import { X509Certificate } from 'node:crypto';
import { connect, createServer } from 'node:tls';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { drillCertificate } from './certificate.ts';

const NOW = new Date('2026-11-22T12:00:00.000Z');

test('it signs itself, for loopback, for longer than any drill, and for the user root', () => {
  const { certificate, key } = drillCertificate(NOW);
  const parsed = new X509Certificate(certificate);
  expect(parsed.subject).toBe('CN=root');
  expect(parsed.issuer).toBe('CN=root');
  expect(parsed.subjectAltName).toBe('IP Address:127.0.0.1, DNS:localhost');
  expect(parsed.ca).toBe(true);
  expect(parsed.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  expect(parsed.verify(parsed.publicKey)).toBe(true);
  expect(parsed.validFromDate.toISOString()).toBe('2026-11-21T12:00:00.000Z');
  expect(parsed.validToDate.toISOString()).toBe('2027-01-21T12:00:00.000Z');
  expect(key).toContain('PRIVATE KEY');
  // After 2049 dates are written in another way.
  expect(new X509Certificate(drillCertificate(new Date('2049-12-31T00:00:00Z')).certificate).validToDate.toISOString()).toBe(
    '2050-03-01T00:00:00.000Z',
  );
});

test('no two are alike, and one does not let in who holds another', async () => {
  const [own, other] = [drillCertificate(new Date()), drillCertificate(new Date())];
  expect(new X509Certificate(own.certificate).serialNumber).not.toBe(new X509Certificate(other.certificate).serialNumber);
  const server = createServer({ key: own.key, cert: own.certificate, ca: own.certificate, requestCert: true, rejectUnauthorized: true });
  server.on('secureConnection', (socket) => socket.end('hello'));
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const said = async ({ certificate, key }: typeof own): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port, ca: own.certificate, cert: certificate, key });
    const chunks: string[] = [];
    socket.setEncoding('utf8').on('data', (text: string) => chunks.push(text));
    await once(socket, 'close').catch((error: unknown) => chunks.push((error as Error).message));
    return chunks.join('');
  };
  expect(await said(own)).toBe('hello');
  expect(await said(other)).not.toContain('hello');
  server.close();
});
