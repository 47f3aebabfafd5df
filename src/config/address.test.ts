import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { normalizePrefix, parseStoreAddress } from './address.ts';

describe('store addresses', () => {
  test.each([
    ['offsite', { kind: 'name', name: 'offsite' }],
    ['/var/backups/etcd', { kind: 'local', path: '/var/backups/etcd' }],
    ['/var/backups/etcd/', { kind: 'local', path: '/var/backups/etcd' }],
    ['./offsite', { kind: 'local', path: '/home/me/offsite' }],
    ['../x', { kind: 'local', path: '/home/x' }],
    ['Backups', { kind: 'local', path: '/home/me/Backups' }],
    ['s3://bucket', { kind: 's3', bucket: 'bucket', prefix: '' }],
    ['s3://bucket/', { kind: 's3', bucket: 'bucket', prefix: '' }],
    ['s3://bucket/a/b/', { kind: 's3', bucket: 'bucket', prefix: 'a/b' }],
  ])('%s', (text, address) => {
    expect(parseStoreAddress(text, '/home/me')).toEqual(address);
  });

  test('fault 39: dots in a bucket, spaces, any script and a leading slash in a prefix are taken; .. and control characters are refused', () => {
    expect(parseStoreAddress('s3://my.bucket.example//a b/größe//日本?#%20', '/')).toEqual({
      kind: 's3',
      bucket: 'my.bucket.example',
      prefix: 'a b/größe/日本?#%20',
    });
    for (const prefix of ['..', 'a/../b', './a', 'a/.', 'a\nb', 'a\u0000', 'a\u2028', '\ud800', 'x'.repeat(801)]) {
      expect(parseStoreAddress(`s3://bucket/${prefix}`, '/')).toMatchObject({ kind: 'bad' });
    }
    expect(parseStoreAddress('s3://bucket/a..b/...', '/')).toMatchObject({ kind: 's3', prefix: 'a..b/...' });
  });

  test.each([
    's3://',
    's3:///prefix',
    's3:bucket',
    'S3://bucket',
    's3://Upper',
    's3://a',
    's3://1.2.3.4/x',
    's3://a..b',
    's3://user:pass@bucket/x',
    'https://bucket.example',
    'gs://bucket',
    'file:///x',
    '~/backups',
    '',
    '  ',
    'a\u0007b',
  ])('%j is no address, and the answer says what is', (text) => {
    expect(parseStoreAddress(text, '/')).toMatchObject({ kind: 'bad', expected: expect.any(String) as string });
  });

  test('whatever the text, a prefix that is taken has no empty, . or .. segment and stays as it is when taken again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.array(fc.constantFrom('a', '/', '.', ' ', 'é')), (text, more) => {
        const result = normalizePrefix(text + more.join(''));
        if ('kind' in result) return;
        expect(result.prefix === '' || result.prefix.split('/').every((segment) => !['', '.', '..'].includes(segment))).toBe(true);
        expect(normalizePrefix(result.prefix)).toEqual(result);
      }),
    );
  });
});
