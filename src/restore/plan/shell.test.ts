import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { command, hostOf, over, quote } from './shell.ts';

const sh = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' });

describe('words for a shell', () => {
  const words = [
    'plain',
    'with blank',
    "it's",
    '$HOME',
    '~root',
    '`id`',
    'a=b',
    '=x',
    '*',
    '#',
    '!',
    '{m}',
    '-n',
    '"',
    '\\',
    'ü',
    'line\nbreak',
  ];

  test('any word reaches the command as it is', () => {
    expect(sh(command('printf', '%s|', ...words))).toBe(words.map((word) => `${word}|`).join(''));
  });

  test('what is run on another machine is quoted for both shells', () => {
    const ssh = 'ssh() { shift; sh -c "$*"; }; ';
    expect(sh(ssh + over('host', command('printf', '%s|', ...words)))).toBe(words.map((word) => `${word}|`).join(''));
  });

  test('paths, URLs and lists of them stay readable', () => {
    expect(quote('m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380')).toBe('m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380');
    expect(quote('')).toBe("''");
  });
});

test('the host of a URL is what ssh takes', () => {
  expect(['https://10.0.0.1:2380', 'http://[2001:db8::1]:2380', 'https://etcd-1.example:2380'].map(hostOf)).toEqual([
    '10.0.0.1',
    '2001:db8::1',
    'etcd-1.example',
  ]);
});
