/** Values as the Kubernetes API server stores them, encoded by hand: `k8s\0`, runtime.Unknown, and the object with its metadata in field 1. */
import { encode, type Field } from './wire.ts';

export interface KubernetesFields {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  /** What follows the metadata. */
  readonly rest?: readonly Field[];
}

export function kubernetesValue({ apiVersion, kind, namespace = '', name, rest = [] }: KubernetesFields): Buffer {
  const meta = encode([1, name], [2, ''], [3, namespace], [5, `uid-of-${name}`], [8, encode([1, 1_700_000_000n], [2, 0n])]);
  const unknown = encode([1, encode([1, apiVersion], [2, kind])], [2, encode([1, meta], ...rest)], [3, ''], [4, '']);
  return Buffer.concat([Buffer.from('k8s\0'), unknown]);
}

/** core/v1 Secret { 1 metadata, 2 data, 3 type }. */
export function secretValue(namespace: string, name: string, data: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(data).map(([key, value]): Field => [2, encode([1, key], [2, value])]);
  return kubernetesValue({ apiVersion: 'v1', kind: 'Secret', namespace, name, rest: [...entries, [3, 'Opaque']] });
}

/** core/v1 ConfigMap { 1 metadata, 2 data }. */
export function configMapValue(namespace: string, name: string, data: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(data).map(([key, value]): Field => [2, encode([1, key], [2, value])]);
  return kubernetesValue({ apiVersion: 'v1', kind: 'ConfigMap', namespace, name, rest: entries });
}
