import { describe, expect, test } from 'vitest';
import { deriveToken, formatInitialCluster, newCluster, parseInitialCluster } from './identity.ts';
import type { Content } from './types.ts';

const WHOLE: Content = { revision: undefined, only: [], without: [], defragmented: false, bump: 'auto' };
const THREE = 'm1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380';

describe('the initial cluster', () => {
  test('is read as etcd reads it, whatever the order and the blanks', () => {
    const members = parseInitialCluster(' b=https://[2001:db8::2]:2380 , a=https://a.example:2380,a=https://10.0.0.1:2380');
    expect(Object.fromEntries(members)).toEqual({
      b: ['https://[2001:db8::2]:2380'],
      a: ['https://10.0.0.1:2380', 'https://a.example:2380'],
    });
    expect(formatInitialCluster(members)).toBe('a=https://10.0.0.1:2380,a=https://a.example:2380,b=https://[2001:db8::2]:2380');
  });

  test('takes a scheme in capitals, which etcd writes in small letters, and leaves a host as it is written', () => {
    expect(formatInitialCluster(parseInitialCluster('a=HTTPS://Etcd-1.Example:2380,b=http://[2001:DB8::1]:2380'))).toBe(
      'a=https://Etcd-1.Example:2380,b=http://[2001:DB8::1]:2380',
    );
  });

  test.each([
    ['m1', /no name=url/],
    ['=http://a:2380', /no name=url/],
    ['', /no name=url/],
    ['m1=http://a:2380,', /no name=url/],
    ['m1=10.0.0.1:2380', /no peer URL of member m1/],
    ['m1=http://a', /no peer URL/],
    ['m1=http://a:0', /no peer URL/],
    ['m1=http://a:70000', /no peer URL/],
    ['m1=http://a:2380/', /no peer URL/],
    ['m1=unix://a:2380', /no peer URL/],
    // etcd refuses these, or writes them otherwise, and ids are made of what it writes.
    ['m1=http://a|b:2380', /no peer URL/],
    ['m1=http://münchen.example:2380', /no peer URL/],
    ['m1=http://m%31.example:2380', /no peer URL/],
    ['m1=http://2001:db8::1:2380', /no peer URL/],
    ['m1=http://a:2380,m2=http://a:2380', /m1 and m2 have the same peer URL/],
    ['m1=http://a:2380,m1=http://a:2380', /m1 has the peer URL .* twice/],
  ])('refuses %j', (text, sentence) => {
    expect(() => parseInitialCluster(text)).toThrow(sentence);
  });
});

describe('the token', () => {
  const of = (part: Partial<Parameters<typeof deriveToken>[0]> = {}): string =>
    deriveToken({ identity: 'id', initialCluster: parseInitialCluster(THREE), attempt: 1, content: WHOLE, ...part });

  test('is the same on every machine, in whatever order members are named', () => {
    expect(of({ initialCluster: parseInitialCluster(THREE.split(',').toReversed().join(',')) })).toBe(of());
  });

  test('is another one for every backup, set of members, attempt and content', () => {
    const tokens = [
      of(),
      of({ identity: 'other' }),
      of({ attempt: 2 }),
      of({ initialCluster: parseInitialCluster('m1=http://10.0.0.1:2380') }),
      of({ content: { ...WHOLE, bump: 'none' } }),
      of({ content: { ...WHOLE, bump: { by: 5n } } }),
      of({ content: { ...WHOLE, revision: 7n } }),
      of({ content: { ...WHOLE, only: [Buffer.from('a')] } }),
      of({ content: { ...WHOLE, without: [Buffer.from('a')] } }),
    ];
    expect(new Set(tokens).size).toBe(tokens.length);
  });

  test('does not depend on how dense the database is written', () => {
    expect(of({ content: { ...WHOLE, defragmented: true } })).toBe(of());
  });
});

describe('the ids', () => {
  test('follow from peer URLs and token alone', () => {
    // Computed apart from this code: SHA-1 of URL and token, SHA-1 of the ids.
    const { clusterId, members } = newCluster(parseInitialCluster('b=http://127.0.0.1:14580,a=http://127.0.0.1:14480'), 'tok');
    expect(clusterId.toString(16)).toBe('6b07678bf3484192');
    expect(members.map(({ id }) => id.toString(16))).toEqual(['42235c90805cdea7', 'fdae39880710fef8']);
  });

  test('ascend, and change with the token', () => {
    const one = newCluster(parseInitialCluster(THREE), 'one');
    const two = newCluster(parseInitialCluster(THREE), 'two');
    expect(one.members.map(({ id }) => id)).toEqual(one.members.map(({ id }) => id).toSorted((a, b) => (a < b ? -1 : 1)));
    expect(one.clusterId).not.toBe(two.clusterId);
    expect(new Set([...one.members, ...two.members].map(({ id }) => id)).size).toBe(6);
  });
});
