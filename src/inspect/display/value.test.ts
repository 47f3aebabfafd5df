import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { configMapValue, kubernetesValue, secretValue } from '../../../test/support/kubernetes.ts';
import { encode } from '../../../test/support/wire.ts';
import { isSecret, previewValue, showValue } from './value.ts';

const KEY = Buffer.from('/app/key');
const bytes = (text: string): Buffer => Buffer.from(text);
const lines = (value: Buffer | string, key: Buffer = KEY, options = {}): readonly string[] =>
  showValue(key, Buffer.from(value), options).lines;

describe('values', () => {
  test('text is shown as lines', () => {
    expect(showValue(KEY, bytes('a\nb'))).toEqual({
      content: 'text',
      kubernetes: undefined,
      sealedBy: undefined,
      masked: false,
      lines: ['a', 'b'],
    });
  });

  test('an empty value is called so', () => {
    expect(showValue(KEY, Buffer.alloc(0))).toMatchObject({ content: 'empty', lines: [] });
    expect(previewValue(KEY, Buffer.alloc(0))).toBe('empty');
  });

  test('JSON is indented, and its numbers, order and repeated names stay as they are', () => {
    expect(showValue(KEY, bytes(' {"b":18446744073709551615,"1":{},"a":[1,"x, {\\"y\\""],"a":[]} '))).toMatchObject({
      content: 'json',
      lines: ['{', '  "b": 18446744073709551615,', '  "1": {},', '  "a": [', '    1,', '    "x, {\\"y\\""', '  ],', '  "a": []', '}'],
    });
  });

  test('JSON is indented as JSON.stringify does', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(typeof value === 'object' && value !== null);
        // safeLines has its own property.
        const text = JSON.stringify(value);
        fc.pre(/^[\x20-\x7e]*$/u.test(text));
        expect(lines(text).join('\n')).toBe(JSON.stringify(value, null, 2));
      }),
      { seed: 3 },
    );
  });

  test('text that begins with a brace is text, and a document too deep to indent is left as it is', () => {
    expect(showValue(KEY, bytes('{{ template }}')).content).toBe('text');
    const deep = `${'['.repeat(150)}${']'.repeat(150)}`;
    expect(showValue(KEY, bytes(deep))).toMatchObject({ content: 'json', lines: [deep] });
  });

  test('anything else is hex with its length, cut unless all is asked for', () => {
    const value = Buffer.alloc(300, 0xff);
    const shown = lines(value);
    expect(shown[0]).toBe('binary, 300 B');
    expect(shown[1]).toBe('00000000  ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff  |................|');
    expect(shown.at(-1)).toBe('... 44 more bytes');
    expect(lines(value, KEY, { full: true })).toHaveLength(1 + 19);
    expect(lines(Buffer.alloc(257, 0)).at(-1)).toBe('... 1 more byte');
  });

  test('Kubernetes protobuf is recognised with its apiVersion, kind, namespace and name', () => {
    const value = configMapValue('default', 'settings', { a: 'b' });
    const shown = showValue(bytes('/registry/configmaps/default/settings'), value);
    expect(shown).toMatchObject({
      content: 'kubernetes',
      masked: false,
      kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'settings' },
    });
    expect(shown.lines[0]).toBe(`v1 ConfigMap default/settings, protobuf, ${value.length} B`);
    expect(previewValue(KEY, value)).toBe('v1 ConfigMap default/settings');
  });

  test('objects without a namespace, without metadata, and what only begins as one', () => {
    const node = kubernetesValue({ apiVersion: 'v1', kind: 'Node', name: 'n1' });
    expect(lines(node)[0]).toMatch(/^v1 Node n1, protobuf/u);
    const bare = Buffer.concat([bytes('k8s\0'), encode([1, encode([1, 'x/v1'], [2, 'Odd'])], [2, Buffer.from([0xff])])]);
    expect(lines(bare)[0]).toMatch(/^x\/v1 Odd, protobuf/u);
    for (const broken of ['k8s\0\xff\xff', 'k8s\0\x0a\x02\xff\xff', 'k8s\0\x12\x00'])
      expect(lines(Buffer.from(broken, 'latin1'))[0]).toMatch(/^Kubernetes protobuf that cannot be read/u);
  });

  test('custom resources, which are stored as JSON, are recognised too', () => {
    const value = bytes('{"apiVersion":"x.io/v1","kind":"Thing","metadata":{"name":"t","namespace":"ns"}}');
    expect(showValue(KEY, value).kubernetes).toEqual({ apiVersion: 'x.io/v1', kind: 'Thing', namespace: 'ns', name: 't' });
    expect(previewValue(KEY, value)).toBe('x.io/v1 Thing ns/t');
    expect(showValue(KEY, bytes('{"apiVersion":"v1","kind":"Odd","metadata":{"name":1}}')).kubernetes).toMatchObject({
      name: '',
      namespace: '',
    });
    expect(showValue(KEY, bytes('{"apiVersion":"v1","kind":"Odd"}')).kubernetes).toMatchObject({ name: '' });
    expect(showValue(KEY, bytes('{"apiVersion":1}')).kubernetes).toBeUndefined();
  });

  test('values that are encrypted at rest are called so', () => {
    const value = Buffer.concat([bytes('k8s:enc:aescbc:v1:key1:'), Buffer.from([1, 2, 0xff])]);
    expect(showValue(KEY, value)).toMatchObject({ content: 'sealed', sealedBy: 'aescbc:v1:key1', masked: false });
    expect(lines(value)[0]).toBe(`encrypted at rest by Kubernetes (aescbc:v1:key1), ${value.length} B`);
    expect(showValue(KEY, bytes('k8s:enc:kms:garbage')).sealedBy).toBe('kms');
    expect(showValue(KEY, bytes('k8s:enc:\u0001')).sealedBy).toBe('unknown');
    expect(showValue(bytes('/registry/secrets/a/b'), value)).toMatchObject({ masked: true });
    expect(lines(value, bytes('/registry/secrets/a/b'))).toHaveLength(2);
  });

  test('previews are one line and cut', () => {
    expect(previewValue(KEY, bytes('a\nb'))).toBe('a b');
    expect(previewValue(KEY, bytes('x'.repeat(100)), { length: 10 })).toBe('xxxxxxx...');
    expect(previewValue(KEY, bytes('{"a":[1]}'))).toBe('{ "a": [ 1 ] }');
    expect(previewValue(KEY, Buffer.from([0xff]))).toBe('binary, 1 B');
    expect(previewValue(bytes('/bootstrap/x'), bytes('token'))).toBe('(masked, 5 B)');
    expect(previewValue(KEY, secretValue('a', 'b', { c: 'hunter2' }))).toBe('v1 Secret a/b (masked)');
  });
});

describe('secrets are masked', () => {
  const PASSWORD = 'hunter2hunter2';
  const base64 = Buffer.from(PASSWORD).toString('base64');
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'n' }, data: { password: base64 } };

  test.each([
    ['/registry/secrets/default/db'],
    ['/kubernetes.io/secrets/default/db'],
    ['/some/other/prefix/secrets/default/db'],
    ['registry/secrets/x'],
    ['//registry//secrets//default//db'],
    ['/bootstrap/0123abcd'],
    ['bootstrap/0123abcd'],
  ])('by their key: %s', (key) => {
    for (const value of [PASSWORD, `{"a":"${PASSWORD}"}`, `\0${PASSWORD}`, `k8s\0${PASSWORD}`, `k8s:enc:x:${PASSWORD}`]) {
      const shown = showValue(bytes(key), bytes(value));
      expect(shown.masked).toBe(true);
      expect(shown.lines.join('\n')).not.toContain(PASSWORD.slice(0, 5));
      expect(previewValue(bytes(key), bytes(value))).not.toContain(PASSWORD.slice(0, 5));
      expect(isSecret(bytes(key), bytes(value))).toBe(true);
      expect(showValue(bytes(key), bytes(value), { showSecrets: true }).masked).toBe(false);
    }
  });

  test.each([
    ['/registry/pods/secrets/x'],
    ['/registry/configmaps/default/secrets'],
    ['/registry/secretstores/a/b'],
    ['/registry/pods/bootstrap/x'],
  ])('but not what only looks like one: %s', (key) => expect(showValue(bytes(key), bytes('x')).masked).toBe(false));

  test('by their kind, as protobuf: names and lengths remain', () => {
    const value = secretValue('default', 'db', { password: PASSWORD, user: 'a' });
    const shown = showValue(KEY, value);
    expect(shown).toMatchObject({ masked: true, kubernetes: { kind: 'Secret', name: 'db' } });
    expect(shown.lines.slice(1)).toEqual(['password: (masked, 14 bytes)', 'user: (masked, 1 byte)', '--show-secrets shows it']);
    expect(lines(value, KEY, { showSecrets: true }).join('')).toContain('|');
  });

  test('as protobuf that is damaged, empty, or below a secret key without being one', () => {
    const damaged = kubernetesValue({ apiVersion: 'v1', kind: 'Secret', name: 'x', rest: [[2, Buffer.from([0xff])]] });
    const empty = kubernetesValue({ apiVersion: 'v1', kind: 'Secret', name: 'x' });
    const other = configMapValue('default', 'x', { [PASSWORD]: PASSWORD });
    expect(lines(damaged)[1]).toMatch(/^\(masked, /u);
    expect(lines(empty)[1]).toMatch(/^\(masked, /u);
    expect(lines(other, bytes('/registry/secrets/default/x'))[1]).toMatch(/^\(masked, /u);
  });

  test.each([
    ['a Secret', secret],
    ['with texts', { ...secret, data: undefined, stringData: { password: PASSWORD } }],
    [
      'with a copy that kubectl apply left',
      { ...secret, metadata: { name: 's', annotations: { 'kubectl.kubernetes.io/last-applied-configuration': PASSWORD } } },
    ],
    ['with odd fields', { ...secret, extra: PASSWORD, immutable: { a: PASSWORD }, data: PASSWORD, metadata: PASSWORD }],
    ['with odd values', { ...secret, data: { a: { b: PASSWORD } }, metadata: { managedFields: [PASSWORD], annotations: PASSWORD } }],
    ['in a list', [1, secret]],
    ['in a List', { kind: 'List', apiVersion: 'v1', items: [{ kind: 'ConfigMap' }, secret] }],
    ['in a SecretList', { kind: 'SecretList', apiVersion: 'v1', items: [{ data: { p: PASSWORD } }, PASSWORD] }],
    ['inside of another object', { spec: { template: secret } }],
  ])('as JSON: %s', (_, document) => {
    const text = JSON.stringify(document);
    const shown = showValue(KEY, bytes(text));
    expect(shown.masked).toBe(true);
    for (const leak of [PASSWORD, base64]) {
      expect(shown.lines.join('\n')).not.toContain(leak);
      expect(previewValue(KEY, bytes(text), { length: 1e6 })).not.toContain(leak);
    }
    expect(lines(text, KEY, { showSecrets: true }).join('')).toMatch(new RegExp(`${PASSWORD}|${base64}`, 'u'));
  });

  test('a JSON Secret keeps what is no secret', () => {
    const shown = lines(JSON.stringify({ ...secret, type: 'Opaque' }));
    expect(shown).toContain('    "password": "(masked, 14 bytes)"');
    expect(shown).toContain('  "type": "Opaque"');
    expect(shown).toContain('    "namespace": "n"');
  });

  test('a document that is too deep to be looked through is masked', () => {
    const deep = `${'{"a":'.repeat(300)}${JSON.stringify(secret)}${'}'.repeat(300)}`;
    expect(lines(deep).join('\n')).not.toContain(base64);
    expect(showValue(KEY, bytes(deep)).masked).toBe(true);
  });

  test.each([
    ['YAML', `apiVersion: v1\nkind: Secret\nstringData:\n  password: ${PASSWORD}\n`],
    ['YAML in a list', `items:\n- kind: "Secret" # x\n  data: {p: ${PASSWORD}}\r\n`],
    ['JSON that is cut', `{"kind": "Secret", "data": {"p": "${PASSWORD}"`],
    [
      'JSON with bytes that are no UTF-8',
      Buffer.concat([bytes(`{"kind":"Secret","data":{"p":"${PASSWORD}"},"x":"`), Buffer.from([0xff]), bytes('"}')]),
    ],
  ])('as %s', (_, value) => {
    expect(showValue(KEY, Buffer.from(value)).masked).toBe(true);
    expect(lines(value).join('\n')).not.toContain(PASSWORD.slice(0, 5));
  });

  test.each([
    [
      'in a string of another document',
      JSON.stringify({ kind: 'ConfigMap', data: { a: JSON.stringify({ kind: 'Secret', data: { p: 'aHVudGVy' } }) } }),
    ],
    ['in YAML in a string', JSON.stringify({ kind: 'ConfigMap', data: { a: 'kind: Secret\ndata: {p: aHVudGVy}' } })],
    ['whose kind is named twice', '{"kind":"Secret","kind":"ConfigMap","data":{"p":"aHVudGVy"}}'],
    ['as a string', JSON.stringify(JSON.stringify({ kind: 'Secret', data: { p: 'aHVudGVy' } }))],
    ['in YAML between braces', '{kind: Secret, data: {p: aHVudGVy}}'],
    ['in YAML with a blank or a tag', 'kind : !!str Secret\ndata: {p: aHVudGVy}'],
  ])('a Secret %s is masked', (_where, text) => {
    const shown = showValue(KEY, bytes(text));
    expect(shown.masked).toBe(true);
    expect([...shown.lines, previewValue(KEY, bytes(text), { length: 1000 })].join('\n')).not.toContain('aHVudGVy');
  });

  test('text that speaks of secrets is shown', () => {
    expect(showValue(KEY, bytes('a kind: Secret of sorts\nkind: SecretStore')).masked).toBe(false);
    expect(isSecret(KEY, bytes('x'))).toBe(false);
  });
});

test('whatever the key and the value, no control character reaches the output', () => {
  const start = fc.constantFrom('', 'k8s\0', 'k8s:enc:', '{"kind":"Secret","data":{"a":"', '{"a":', 'k8s\0\n\x04\n\x02v1');
  const value = fc.tuple(start, fc.uint8Array({ maxLength: 200 })).map(([head, tail]) => Buffer.concat([Buffer.from(head), tail]));
  const text = fc
    .string({ unit: 'binary' })
    .map((one) => Buffer.from(JSON.stringify({ a: one, kind: 'x', apiVersion: one, metadata: { name: one } })));
  fc.assert(
    fc.property(fc.oneof(value, text), fc.boolean(), (bytesOf, showSecrets) => {
      const shown = showValue(KEY, bytesOf, { showSecrets, full: true });
      const all = [...shown.lines, previewValue(KEY, bytesOf, { showSecrets })].join('');
      // eslint-disable-next-line no-control-regex
      expect(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/u.test(all)).toBe(false);
    }),
    { seed: 4, numRuns: 100 },
  );
});
