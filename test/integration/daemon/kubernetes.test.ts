import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { loadConfig } from '../../../src/config/load.ts';

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly securityContext?: {
    allowPrivilegeEscalation?: boolean;
    readOnlyRootFilesystem?: boolean;
    capabilities?: { drop?: readonly string[] };
  };
  readonly resources?: { limits?: { memory?: string } };
  readonly volumeMounts: readonly { name: string; mountPath: string; readOnly?: boolean }[];
  readonly livenessProbe?: { httpGet: { path: string; port: string | number } };
  readonly readinessProbe?: unknown;
  readonly startupProbe?: unknown;
  readonly ports?: readonly { name: string; containerPort: number }[];
  readonly env?: readonly unknown[];
}

interface PodSpec {
  readonly restartPolicy?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: { runAsNonRoot?: boolean; runAsUser?: number; seccompProfile?: { type: string } };
  readonly containers: readonly Container[];
  readonly volumes: readonly { name: string; emptyDir?: object; secret?: object; configMap?: { name: string } }[];
}

type Resource = { kind: string; metadata: { name: string }; data?: Record<string, string>; spec: Record<string, unknown> };

const FILES = ['cronjob.yaml', 'sidecar.yaml'] as const;

function resources(file: string): Resource[] {
  const text = readFileSync(new URL(`../../../deploy/kubernetes/${file}`, import.meta.url), 'utf8');
  return parseAllDocuments(text).map((document) => {
    expect(document.errors).toEqual([]);
    expect(document.warnings).toEqual([]);
    return document.toJS() as Resource;
  });
}

function podOf(file: string): PodSpec {
  const owner = resources(file).find(({ kind }) => kind === 'CronJob' || kind === 'StatefulSet')!;
  const template =
    owner.kind === 'CronJob'
      ? (owner.spec['jobTemplate'] as { spec: { template: { spec: PodSpec } } }).spec.template
      : (owner.spec['template'] as { spec: PodSpec });
  return template.spec;
}

/** The configuration in the ConfigMap, loaded as the container would, with every file that the pod mounts in its place. */
function configOf(file: string): ReturnType<typeof loadConfig>['config'] {
  const text = resources(file).find(({ kind }) => kind === 'ConfigMap')!.data!['config.yaml']!;
  const path = '/etc/etcd-warden/config.yaml';
  const mounts = podOf(file).containers.flatMap((container) => container.volumeMounts.map(({ mountPath }) => mountPath));
  return loadConfig({
    flags: { config: path },
    env: {},
    uid: 65532,
    files: {
      read: (asked) => {
        if (asked === path) return text;
        expect(
          mounts.some((mount) => asked.startsWith(`${mount}/`)),
          `${asked} is mounted`,
        ).toBe(true);
        return 'content';
      },
      stat: (asked) =>
        asked === path || mounts.some((mount) => asked.startsWith(`${mount}/`)) ? { kind: 'file', mode: 0o440 } : undefined,
    },
  }).config;
}

describe.each(FILES)('deploy/kubernetes/%s', (file) => {
  const pod = podOf(file);
  const warden = pod.containers.find((container) => container.image.startsWith('etcd-warden:'))!;

  test('nothing in the pod runs as root, gains privileges, or writes to its root file system', () => {
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod.automountServiceAccountToken).toBe(false);
    for (const container of pod.containers) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.resources?.limits?.memory).toBeDefined();
    }
  });

  test('the spool is an emptyDir with a limit, and secrets come as read-only files, never as environment', () => {
    const { stateDir } = configOf(file);
    const mount = warden.volumeMounts.find(({ mountPath }) => mountPath === stateDir)!;
    expect(pod.volumes.find(({ name }) => name === mount.name)?.emptyDir).toHaveProperty('sizeLimit');
    for (const { name, secret, configMap } of pod.volumes) {
      if (secret === undefined && configMap === undefined) continue;
      expect(warden.volumeMounts.find((one) => one.name === name)?.readOnly).toBe(true);
    }
    expect(warden.env).toBeUndefined();
  });

  test('every volume that is mounted exists, and the configuration is the one of the same file', () => {
    const claims = (resources(file).find(({ kind }) => kind === 'StatefulSet')?.spec['volumeClaimTemplates'] ?? []) as {
      metadata: { name: string };
    }[];
    const names = [...pod.volumes.map(({ name }) => name), ...claims.map(({ metadata }) => metadata.name)];
    for (const container of pod.containers) for (const { name } of container.volumeMounts) expect(names).toContain(name);
    const map = resources(file).find(({ kind }) => kind === 'ConfigMap')!;
    expect(pod.volumes.flatMap(({ configMap }) => configMap?.name ?? [])).toEqual([map.metadata.name]);
  });

  test('the configuration in it loads without an error', () => {
    const config = configOf(file);
    expect(Object.keys(config.clusters)).toEqual(['main']);
    expect(config.stores['offsite']).toMatchObject({ type: 's3' });
    expect(config.clusters['main']?.backup.stores).toEqual(['offsite']);
  });

  test('the pod is given longer to stop than the daemon gives its jobs', () => {
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(configOf(file).daemon.graceMs);
  });
});

describe('deploy/kubernetes', () => {
  test('the CronJob takes one backup, never two at once, and a partial one counts as failed', () => {
    const job = resources('cronjob.yaml').find(({ kind }) => kind === 'CronJob')!;
    const pod = podOf('cronjob.yaml');
    expect(pod.containers[0]?.args?.[0]).toBe('backup');
    expect(pod.restartPolicy).toBe('Never');
    expect(job.spec['concurrencyPolicy']).toBe('Forbid');
    expect(job.spec['jobTemplate']).not.toHaveProperty('spec.podFailurePolicy');
  });

  test('the sidecar is probed at /healthz only: a stale backup never makes an etcd pod unready, nor restarts it', () => {
    const warden = podOf('sidecar.yaml').containers.find(({ name }) => name === 'etcd-warden')!;
    expect(warden.args?.[0]).toBe('run');
    expect(warden.livenessProbe?.httpGet.path).toBe('/healthz');
    expect(warden.readinessProbe).toBeUndefined();
    expect(warden.startupProbe).toBeUndefined();
    const port = warden.ports?.find(({ name }) => name === warden.livenessProbe?.httpGet.port)?.containerPort;
    expect(configOf('sidecar.yaml').http.listen).toBe(`0.0.0.0:${port}`);
  });

  test('the sidecars share the work: they are coordinated, and name the members as all of them see them', () => {
    const { clusters } = configOf('sidecar.yaml');
    expect(clusters['main']?.coordinate).toBe(true);
    for (const endpoint of clusters['main']?.endpoints ?? []) expect(endpoint).not.toMatch(/localhost|127\.|::1/);
  });

  test("the sidecar's spool is not on etcd's volume", () => {
    const pod = podOf('sidecar.yaml');
    const etcd = pod.containers.find(({ name }) => name === 'etcd')!;
    const warden = pod.containers.find(({ name }) => name === 'etcd-warden')!;
    expect(warden.volumeMounts.map(({ name }) => name)).not.toContain(etcd.volumeMounts[0]?.name);
  });
});
