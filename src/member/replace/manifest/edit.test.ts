import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { existingInEnvironment, readEnvironment } from './environment-file.ts';
import { faultsOf, flagValue, startConfig } from './start-config.ts';
import { existingInManifest, readManifest } from './static-pod.ts';

const POD = readFileSync(join(import.meta.dirname, '../../../../test/support/static-pod.yaml'), 'utf8');

/** Lines that differ, as `diff` shows them. */
function diff(before: string, after: string): string[] {
  const [left, right] = [before.split('\n'), after.split('\n')];
  const gone = left.filter((line) => !right.includes(line)).map((line) => `-${line}`);
  return [...gone, ...right.filter((line) => !left.includes(line)).map((line) => `+${line}`)];
}

const joined = (state: string): string => POD.replace('--unsafe-no-fsync', state);

describe('initial-cluster-state of a static pod', () => {
  test.each([
    ['as one word', '--initial-cluster-state=new', '    - --initial-cluster-state=existing'],
    ['in double quotes', '"--initial-cluster-state=new"', '    - "--initial-cluster-state=existing"'],
    ['in single quotes, with a comment', "'--initial-cluster-state=new' # why", "    - '--initial-cluster-state=existing' # why"],
    ['with one dash', '-initial-cluster-state=new', '    - -initial-cluster-state=existing'],
  ])('changes its one line, %s, and nothing else', (_, written, line) => {
    const before = joined(written);
    const { text, line: number } = existingInManifest('etcd.yaml', before);
    expect(diff(before, text)).toEqual([`-    - ${written}`, `+${line}`]);
    expect(text.split('\n')[number! - 1]).toBe(line);
    expect(text.split('\n')).toHaveLength(before.split('\n').length);
  });

  test('is changed where flag and value are two words', () => {
    const before = joined('--initial-cluster-state\n    - new');
    expect(diff(before, existingInManifest('etcd.yaml', before).text)).toEqual(['-    - new', '+    - existing']);
  });

  test('is changed in a list on one line, and in the environment', () => {
    const pod = 'kind: Pod\nspec: {containers: [{name: etcd, command: [etcd, --initial-cluster-state=new, --initial-cluster=a=b]}]}\n';
    expect(existingInManifest('etcd.yaml', pod).text).toBe(pod.replace('=new', '=existing'));
    const env =
      'kind: Pod\nspec:\n  containers:\n  - name: etcd\n    command: [etcd]\n    env:\n    - name: ETCD_INITIAL_CLUSTER_STATE\n      value: "new" # first\n';
    expect(existingInManifest('etcd.yaml', env).text).toBe(env.replace('"new"', '"existing"'));
  });

  test('comes as a line behind initial-cluster, quoted like that, where kubeadm wrote none', () => {
    const added = existingInManifest('etcd.yaml', POD);
    expect(added).toMatchObject({ before: undefined, after: '    - --initial-cluster-state=existing' });
    expect(diff(POD, added.text)).toEqual(['+    - --initial-cluster-state=existing']);
    expect(added.text.split('\n')[added.line! - 2]).toContain('--initial-cluster=');
    const quoted = POD.replace('- --initial-cluster=INITIAL_CLUSTER', '- "--initial-cluster=INITIAL_CLUSTER"').replaceAll('\n', '\r\n');
    expect(existingInManifest('etcd.yaml', quoted).text).toContain('\r\n    - "--initial-cluster-state=existing"\r\n');
  });

  test('stays as it is when it is existing already', () => {
    const before = joined('--initial-cluster-state=existing');
    expect(existingInManifest('etcd.yaml', before)).toEqual({ text: before, line: undefined, before: undefined, after: undefined });
  });

  test.each([
    [
      'a shell around etcd',
      POD.replace('- etcd\n', '- sh\n    - -c\n    - exec etcd --initial-cluster-state=new\n'),
      /0 of its containers run etcd/,
    ],
    ['two containers of etcd', POD.replace('  hostNetwork', '  - name: etcd\n  hostNetwork'), /2 of its containers run etcd/],
    ['the flag twice', joined('--initial-cluster-state=new\n    - --initial-cluster-state=new'), /more than once/],
    ['another value', joined('--initial-cluster-state=newish'), /neither new nor existing/],
    ['an escape', joined('"--initial-cluster-state=\\x6eew"'), /not understood/],
    ['a flag without a value', POD.replace('- --quota-backend-bytes=4294967296', '- --initial-cluster-state'), /has no value/],
    ['an argument that is no text', joined('{a: b}'), /not plain text/],
    [
      'no flag, and arguments on one line',
      'kind: Pod\nspec: {containers: [{name: etcd, command: [etcd, --initial-cluster=a=b]}]}\n',
      /not a list of lines/,
    ],
    ['neither flag', 'kind: Pod\nspec:\n  containers:\n  - name: etcd\n', /neither --initial-cluster-state nor/],
    ['two documents', `${POD}---\nkind: Pod\n`, /not one YAML document/],
    ['something else', 'kind: Deployment\n', /no manifest of a Pod/],
    ['no YAML', 'kind: [Pod\n', /no valid YAML/],
    ['nothing', '', /not one YAML document/],
  ])('is not touched in %s', (_, text, reason) => {
    expect(() => existingInManifest('etcd.yaml', text)).toThrow(reason);
  });

  test('is read with what etcd would be started with', () => {
    expect(readManifest('etcd.yaml', POD)).toEqual({
      where: 'etcd.yaml',
      name: 'NAME',
      initialCluster: 'INITIAL_CLUSTER',
      initialClusterState: undefined,
    });
  });
});

describe('initial-cluster-state of an environment file', () => {
  const FILE =
    '# ETCD_INITIAL_CLUSTER_STATE=new\nETCD_NAME=m3\nETCD_INITIAL_CLUSTER="m1=a,m3=c"\n  ETCD_INITIAL_CLUSTER_STATE = "new"  \n\n; end\n';

  test('changes its one line, and nothing else', () => {
    const { text, line } = existingInEnvironment('etcd.env', FILE);
    expect(text).toBe(FILE.replace('"new"', '"existing"'));
    expect(line).toBe(4);
    expect(existingInEnvironment('etcd.env', text)).toMatchObject({ text, line: undefined });
    const plain = FILE.replace('"new"', 'new').replaceAll('\n', '\r\n');
    expect(existingInEnvironment('etcd.env', plain).text).toBe(plain.replace(' = new', ' = existing'));
  });

  test('comes behind ETCD_INITIAL_CLUSTER, quoted like that, where it is missing', () => {
    const without = FILE.replace('  ETCD_INITIAL_CLUSTER_STATE = "new"  \n', '');
    expect(existingInEnvironment('etcd.env', without).text).toBe(
      without.replace('m3=c"\n', 'm3=c"\nETCD_INITIAL_CLUSTER_STATE="existing"\n'),
    );
    expect(existingInEnvironment('etcd.env', 'ETCD_INITIAL_CLUSTER=a').text).toBe(
      'ETCD_INITIAL_CLUSTER=a\nETCD_INITIAL_CLUSTER_STATE=existing',
    );
  });

  test.each([
    ['it is there twice', `${FILE}ETCD_INITIAL_CLUSTER_STATE=new\n`, /more than once/],
    ['a line goes on', 'ETCD_INITIAL_CLUSTER_STATE=\\\nnew\n', /behind a backslash/],
    ['it is something else', 'ETCD_INITIAL_CLUSTER_STATE=$STATE\n', /neither new nor existing/],
    ['it is empty', 'ETCD_INITIAL_CLUSTER_STATE=\n', /is empty/],
    ['nothing of it is there', 'ETCD_NAME=m3\n', /neither/],
  ])('is not touched where %s', (_, text, reason) => {
    expect(() => existingInEnvironment('etcd.env', text)).toThrow(reason);
  });

  test('values are read without their quotes, the last one counts, and comments do not', () => {
    expect(readEnvironment(`${FILE}ETCD_NAME='m4'\n`)).toEqual({
      ETCD_NAME: 'm4',
      ETCD_INITIAL_CLUSTER: 'm1=a,m3=c',
      ETCD_INITIAL_CLUSTER_STATE: 'new',
    });
  });
});

describe('what a member would be started with', () => {
  const joinedAs = { name: 'm3', initialCluster: 'm1=http://a:1,m3=http://c:1' };

  test('flags go before the environment, and the last flag counts', () => {
    const words = ['etcd', '--name', 'm2', '-name=m3', '--initial-cluster=x=y'];
    expect(startConfig('unit', words, { ETCD_NAME: 'no', ETCD_INITIAL_CLUSTER_STATE: 'existing' })).toEqual({
      where: 'unit',
      name: 'm3',
      initialCluster: 'x=y',
      initialClusterState: 'existing',
    });
    expect(flagValue(words, 'data-dir')).toBeUndefined();
  });

  test('is right in any order of the members, and each fault has its sentence', () => {
    const right = { where: 'unit', name: 'm3', initialCluster: 'm3=http://c:1, m1=http://a:1,', initialClusterState: 'existing' };
    expect(faultsOf(right, joinedAs)).toEqual([]);
    expect(faultsOf({ ...right, name: undefined }, joinedAs)).toEqual([]);
    const wrong = faultsOf({ where: 'unit', name: 'm9', initialCluster: 'm3=http://c:1', initialClusterState: undefined }, joinedAs);
    expect(wrong).toEqual([
      expect.stringMatching(/nothing, which means new.*must be existing/),
      expect.stringContaining('exactly the members there are: initial-cluster=m1=http://a:1,m3=http://c:1'),
      expect.stringMatching(/calls the member m9.*as m3/),
    ]);
    expect(faultsOf({ ...right, initialCluster: undefined, initialClusterState: 'new' }, joinedAs)).toEqual([
      expect.stringContaining('initial-cluster-state new'),
      expect.stringContaining('no initial-cluster'),
    ]);
  });
});
