import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { hostAndPort, isLoopback, parseEndpoint, whyNotDial } from './endpoint.ts';

describe('endpoints', () => {
  test.each([
    ['10.0.0.1', false, 'http://10.0.0.1:2379'],
    ['etcd-0.example:4001', true, 'https://etcd-0.example:4001'],
    ['HTTPS://Etcd.Example/', false, 'https://etcd.example:2379'],
    ['http://[fd00::1]:2379', true, 'http://[fd00::1]:2379'],
    ['https://etcd:443', false, 'https://etcd:443'],
    ['http://etcd:80/', false, 'http://etcd:80'],
    ['https://etcd', false, 'https://etcd:2379'],
  ])('%s, https by default: %s, is %s', (address, secureByDefault, url) => {
    expect(parseEndpoint(address, secureByDefault).url).toBe(url);
  });

  test.each(['', 'unix:///run/etcd.sock', 'https://user:password@etcd:2379', 'https://etcd:2379/v3', 'http://etcd:99999', 'etcd:2379?x=1'])(
    '%j is refused, without repeating a password',
    (address) => {
      const refuse = (): unknown => parseEndpoint(address, false);
      expect(refuse).toThrow(expect.objectContaining({ code: 'config-invalid' }));
      expect(refuse).not.toThrow(/user:password/);
    },
  );

  test('whatever the text is, the only error is the one that is documented', () => {
    fc.assert(
      fc.property(fc.string(), fc.boolean(), (text, secure) => {
        try {
          expect(parseEndpoint(parseEndpoint(text, secure).url, !secure).url).toBe(parseEndpoint(text, secure).url);
        } catch (error) {
          expect(error).toBeInstanceOf(WardenError);
        }
      }),
    );
  });

  test('an IPv6 address is bracketed for gRPC and bare for certificates', () => {
    const endpoint = parseEndpoint('http://[::1]:2379', false);
    expect(hostAndPort(endpoint)).toBe('[::1]:2379');
    expect(endpoint.host).toBe('::1');
    expect(isLoopback(endpoint)).toBe(true);
  });

  test.each([
    ['http://127.0.0.1:2379', ['http://10.0.0.1:2379'], /loopback/],
    ['http://localhost:2379', ['http://10.0.0.1:2379'], /loopback/],
    ['http://127.0.0.1:22379', ['http://localhost:2379'], undefined],
    ['http://0.0.0.0:2379', ['http://127.0.0.1:2379'], /names no machine/],
    ['http://[::]:2379', ['http://127.0.0.1:2379'], /names no machine/],
    ['http://10.0.0.2:2379', ['https://10.0.0.1:2379'], /not the configured https/],
    ['https://10.0.0.2:2379', ['http://10.0.0.1:2379'], /not the configured http/],
    ['http://10.0.0.2:2379', ['http://10.0.0.1:2379', 'https://10.0.0.3:2379'], /nothing is said over http/],
    ['https://10.0.0.2:2379', ['https://10.0.0.1:2379'], undefined],
  ])('advertised %s beside configured %j', (advertised, configured, reason) => {
    const why = whyNotDial(
      parseEndpoint(advertised, false),
      configured.map((address) => parseEndpoint(address, false)),
    );
    if (reason === undefined) expect(why).toBeUndefined();
    else expect(why).toMatch(reason);
  });
});
