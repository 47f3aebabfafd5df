import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import type { ClusterTls } from './cluster.ts';

/**
 * X.509 certificates written by hand, since a machine that runs the tests need not have openssl. RFC 5280, ECDSA on P-256 with SHA-256,
 * just the extensions that Go and Node look at.
 */
export interface Issued {
  /** PEM */
  readonly certificate: string;
  /** PEM, PKCS #8 */
  readonly key: string;
}

export interface Authority {
  readonly certificate: string;
  issue(options: IssueOptions): Issued;
}

export interface IssueOptions {
  readonly commonName: string;
  /** DNS names and IPv4 addresses it is good for. */
  readonly names?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

const DAY_MS = 86_400_000;
const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

export function createAuthority(commonName = 'etcd-warden test CA'): Authority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuerKeyId = keyId(keys.publicKey);
  const extensions = [
    extension(OID.basicConstraints, sequence(der(0x01, Buffer.of(0xff))), true),
    // keyCertSign and cRLSign
    extension(OID.keyUsage, der(0x03, Buffer.of(1, 0b0000_0110)), true),
    extension(OID.subjectKeyIdentifier, der(0x04, issuerKeyId)),
  ];
  const certificate = certify({ issuer: commonName, issuerKey: keys.privateKey, commonName, publicKey: keys.publicKey, extensions });

  function issue({ commonName: subject, names = [], notBefore, notAfter }: IssueOptions): Issued {
    const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const leafExtensions = [
      extension(OID.basicConstraints, sequence(), true),
      // digitalSignature
      extension(OID.keyUsage, der(0x03, Buffer.of(7, 0b1000_0000)), true),
      extension(OID.extendedKeyUsage, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
      extension(OID.subjectKeyIdentifier, der(0x04, keyId(leaf.publicKey))),
      extension(OID.authorityKeyIdentifier, sequence(der(0x80, issuerKeyId))),
    ];
    if (names.length > 0) leafExtensions.push(extension(OID.subjectAltName, sequence(...names.map(alternativeName))));
    return {
      certificate: certify({
        issuer: commonName,
        issuerKey: keys.privateKey,
        commonName: subject,
        publicKey: leaf.publicKey,
        extensions: leafExtensions,
        notBefore,
        notAfter,
      }),
      key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    };
  }

  return { certificate, issue };
}

export interface TestCertificates {
  readonly authority: Authority;
  readonly folder: string;
  /** For startCluster: a server certificate for 127.0.0.1 and localhost, and a client's. */
  readonly tls: ClusterTls;
  /** Writes a certificate and its key as NAME.crt and NAME.key (0600), over those that are there. */
  readonly write: (name: string, issued: Issued) => { certFile: string; keyFile: string };
  /** Another authority's certificate, which nobody here trusts. */
  readonly strangeCaFile: string;
}

/** Writes an authority, a server's and a client's certificate into the folder: ca.crt, server.crt, server.key, client.crt, client.key. */
export function writeCertificates(folder: string, options: { clientCertRequired?: boolean; clientName?: string } = {}): TestCertificates {
  const authority = createAuthority();
  function write(name: string, issued: Issued): { certFile: string; keyFile: string } {
    const certFile = join(folder, `${name}.crt`);
    const keyFile = join(folder, `${name}.key`);
    writeFileSync(certFile, issued.certificate);
    writeFileSync(keyFile, issued.key, { mode: 0o600 });
    chmodSync(keyFile, 0o600);
    return { certFile, keyFile };
  }
  const caFile = join(folder, 'ca.crt');
  writeFileSync(caFile, authority.certificate);
  const strangeCaFile = join(folder, 'strange-ca.crt');
  writeFileSync(strangeCaFile, createAuthority('a strange CA').certificate);
  const server = write('server', authority.issue({ commonName: 'etcd', names: ['127.0.0.1', 'localhost'] }));
  const client = write('client', authority.issue({ commonName: options.clientName ?? 'root' }));
  const tls: ClusterTls = {
    caFile,
    ...client,
    serverCertFile: server.certFile,
    serverKeyFile: server.keyFile,
    clientCertRequired: options.clientCertRequired ?? false,
  };
  return { authority, folder, tls, write, strangeCaFile };
}

interface Contents {
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly commonName: string;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
  readonly notBefore?: Date | undefined;
  readonly notAfter?: Date | undefined;
}

function certify({ issuer, issuerKey, commonName, publicKey, extensions, notBefore, notAfter }: Contents): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const now = Date.now();
  const toBeSigned = sequence(
    der(0xa0, integer(Buffer.of(2))), // version 3
    integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])), // positive, never the same twice
    algorithm,
    name(issuer),
    sequence(time(notBefore ?? new Date(now - DAY_MS)), time(notAfter ?? new Date(now + 365 * DAY_MS))),
    name(commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', toBeSigned, issuerKey);
  const bytes = sequence(toBeSigned, algorithm, der(0x03, Buffer.concat([Buffer.of(0), signature])));
  return `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd()}\n-----END CERTIFICATE-----\n`;
}

function name(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid(OID.commonName), der(0x0c, Buffer.from(commonName)))));
}

function alternativeName(value: string): Buffer {
  return isIPv4(value) ? der(0x87, Buffer.from(value.split('.').map(Number))) : der(0x82, Buffer.from(value));
}

/** SHA-1 of the key's bit string, as RFC 5280 4.2.1.2 proposes; any value would do. */
function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [der(0x01, Buffer.of(0xff))] : []), der(0x04, value));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

/** UTCTime, which ends with 2049. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return der(0x17, Buffer.from(digits.slice(2)));
}

function oid(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number) as [number, number, ...number[]];
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

function der(tag: number, contents: Buffer): Buffer {
  const { length } = contents;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), contents]);
  const size = length < 0x100 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff);
  return Buffer.concat([Buffer.of(tag), size, contents]);
}
