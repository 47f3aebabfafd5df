import { expect, test } from 'vitest';
import { givenFlags } from './restore-plan-input.ts';

const stores = [
  { name: 'local', kind: 'local' as const, location: '/home/ops/backups' },
  { name: 'offsite', kind: 's3' as const, location: 's3://bucket/etcd' },
];
const places = { folder: '/home/ops', stores };

function given(options: Readonly<Record<string, unknown>>): string[] {
  return [
    ...givenFlags(options, 'call', ['config', 'cluster', 'to', 'from'], places),
    ...givenFlags(options, 'cluster', ['cacert', 'user', 'insecure-skip-tls-verify'], places),
  ];
}

test('the commands of a plan mean the same in whatever folder they are pasted', () => {
  expect(given({ config: 'warden.yaml', cluster: 'prod', cacert: '../pki/ca.crt', user: 'root' })).toEqual(
    '--config /home/ops/warden.yaml --cluster prod --cacert /home/pki/ca.crt --user root'.split(' '),
  );
  expect(given({ from: ['./backups', 'offsite', 's3://bucket/etcd'] })).toEqual(
    ['/home/ops/backups', 'offsite', 's3://bucket/etcd'].flatMap((store) => ['--from', store]),
  );
});

test('a bare word is a folder only where no store is called so', () => {
  expect(given({ from: ['backups'] })).toEqual(['--from', '/home/ops/backups']);
  expect(
    givenFlags({ from: ['backups'] }, 'call', ['from'], { folder: '/home/ops', stores: [{ ...stores[0]!, name: 'backups' }] }),
  ).toEqual(['--from', 'backups']);
});
