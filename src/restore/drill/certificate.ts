/**
 * A certificate that signs itself, made for one drill and gone with it. The scratch etcd holds everything that the cluster held, and loopback is open to every
 * user of the machine: so it answers only who shows this certificate, and shows it itself. One serves as authority, server and client.
 *
 * Its common name is `root`: where the backup has authentication enabled, etcd takes the name in a client's certificate for the user (since 3.2), and root may
 * read and hash everything. So the database is started exactly as it is restored.
 *
 * DER by hand (X.680, RFC 5280), because Node signs but makes no certificates, and one of a fixed shape is some thirty lines.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

export interface DrillCertificate {
  /** PEM, each. */
  readonly certificate: string;
  readonly key: string;
}

const SEQUENCE = 0x30;
const SET = 0x31;
const ECDSA_WITH_SHA256 = tlv(SEQUENCE, oid('1.2.840.10045.4.3.2'));
const LOOPBACK = Buffer.from([127, 0, 0, 1]);
const DAY_MS = 86_400_000;

/** @param now of the clock that etcd will look at */
export function drillCertificate(now: Date): DrillCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, oid('2.5.4.3'), tlv(0x0c, Buffer.from('root')))));
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40; // positive, and its first byte is not zero
  const body = tlv(
    SEQUENCE,
    tlv(0xa0, tlv(0x02, Buffer.from([2]))), // version 3
    tlv(0x02, serial),
    ECDSA_WITH_SHA256,
    name,
    // The longest drill takes 24 days; a day back for a clock that is set while it runs.
    tlv(SEQUENCE, time(now.getTime() - DAY_MS), time(now.getTime() + 60 * DAY_MS)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(
      0xa3,
      tlv(
        SEQUENCE,
        extension('2.5.29.19', tlv(SEQUENCE, tlv(0x01, Buffer.from([0xff])))), // an authority
        extension('2.5.29.15', tlv(0x03, Buffer.from([2, 0x84]))), // digitalSignature and keyCertSign
        extension('2.5.29.37', tlv(SEQUENCE, oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))), // server and client
        extension('2.5.29.17', tlv(SEQUENCE, tlv(0x87, LOOPBACK), tlv(0x82, Buffer.from('localhost')))),
      ),
    ),
  );
  const signature = sign('sha256', body, privateKey);
  const der = tlv(SEQUENCE, body, ECDSA_WITH_SHA256, tlv(0x03, Buffer.from([0]), signature));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  };
}

function extension(id: string, value: Buffer): Buffer {
  return tlv(SEQUENCE, oid(id), tlv(0x04, value));
}

function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

/** GeneralizedTime would do for all years, but RFC 5280 wants UTCTime before 2050. */
function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-T:]|\.\d+/g, '');
  return text < '2050' ? tlv(0x17, Buffer.from(text.slice(2))) : tlv(0x18, Buffer.from(text));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tlv(0x06, Buffer.from(bytes));
}
