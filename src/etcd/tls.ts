/**
 * TLS towards members, from files that other programs rotate (cert-manager, kubeadm, step): every new connection looks whether they changed.
 * etcd's own client re-reads certificate and key per handshake but not the CA; here all three count, because a CA is rotated too.
 */
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions, createSecureContext, type PeerCertificate, type SecureContext } from 'node:tls';
import type { ChannelOptions } from '@grpc/grpc-js';
import { asError, WardenError } from '../errors.ts';
import type { Endpoint } from './endpoint.ts';
import type { ClusterAccess } from './types.ts';

type TlsAccess = NonNullable<ClusterAccess['tls']>;

interface Verification {
  readonly rejectUnauthorized?: boolean;
  readonly checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/** What the files held when a context was made from them. */
interface Loaded {
  readonly stamp: string;
  readonly context: SecureContext;
}

/** The TLS material of one cluster, reloaded when a file changed. */
export class TlsMaterial {
  readonly #access: TlsAccess;
  #loaded: Loaded | undefined;
  #tried = '';

  constructor(access: TlsAccess) {
    this.#access = access;
  }

  /**
   * The current context: the same object until a file changes, so that a caller sees by identity whether to connect anew.
   * Files caught half-way through a rotation (a new certificate beside the old key) keep the last good context in use.
   * @throws WardenError `tls-failed` when no usable context was ever read.
   */
  context(): SecureContext {
    const stamp = this.#stamp();
    if (this.#loaded !== undefined && (stamp === this.#loaded.stamp || stamp === this.#tried)) return this.#loaded.context;
    this.#tried = stamp;
    try {
      this.#loaded = { stamp, context: this.#read() };
    } catch (error) {
      if (this.#loaded === undefined) throw error;
    }
    return this.#loaded.context;
  }

  /** For a connection that is made without gRPC. Node sends no server name for an address. */
  connectOptions(endpoint: Endpoint): ConnectionOptions {
    const { serverName } = this.#access;
    return {
      secureContext: this.context(),
      ...this.verification(endpoint),
      ...(serverName === undefined ? {} : { servername: serverName }),
    };
  }

  /** The server name that is sent. grpc-js would send an IP address as name, which RFC 6066 forbids and Node warns about on stderr. */
  channelOptions(endpoint: Endpoint): ChannelOptions {
    const name = this.#access.serverName ?? (isIP(endpoint.host) === 0 ? endpoint.host : 'etcd.invalid');
    return { 'grpc.ssl_target_name_override': name };
  }

  /** For a channel of gRPC, beside the context. The name is checked against what we dialled, or against the configured server name, whatever is sent as server name. */
  verification(endpoint: Endpoint): Verification {
    if (this.#access.insecureSkipVerify) return { rejectUnauthorized: false, checkServerIdentity: () => undefined };
    const expected = this.#access.serverName ?? endpoint.host;
    return { checkServerIdentity: (_, certificate) => checkServerIdentity(expected, certificate) };
  }

  #read(): SecureContext {
    const { caFile, certFile, keyFile } = this.#access;
    if ((certFile === undefined) !== (keyFile === undefined)) {
      throw new WardenError(
        'config-invalid',
        `tls has ${certFile === undefined ? 'a key but no certificate' : 'a certificate but no key'}`,
        {
          hint: 'a client certificate needs both certFile and keyFile',
        },
      );
    }
    const ca = read('CA', caFile);
    const cert = read('certificate', certFile);
    const key = read('key', keyFile);
    try {
      return createSecureContext({ ca, cert, key, minVersion: 'TLSv1.2' });
    } catch (error) {
      const files = [caFile, certFile, keyFile].filter((file) => file !== undefined).join(', ');
      throw new WardenError('tls-failed', `the TLS files cannot be used (${files}): ${asError(error).message}`, {
        hint: 'they must be PEM, and the key must belong to the certificate and have no passphrase',
        cause: error,
      });
    }
  }

  #stamp(): string {
    const { caFile, certFile, keyFile } = this.#access;
    return [caFile, certFile, keyFile].map(stampOf).join(' ');
  }
}

/** Changes whenever the file is replaced or rewritten; Kubernetes swaps a symbolic link, which changes the inode. */
function stampOf(file: string | undefined): string {
  if (file === undefined) return '-';
  const stat = statSync(file, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? 'gone' : `${stat.ino}.${stat.size}.${stat.mtimeNs}.${stat.ctimeNs}`;
}

function read(what: string, file: string | undefined): Buffer | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file);
  } catch (error) {
    throw new WardenError('tls-failed', `the ${what} file ${file} cannot be read: ${asError(error).message}`, { cause: error });
  }
}
