import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { PLANNED_ID, WHOLE, plannedInput, plannedSource } from '../../../test/support/restore-plans.ts';
import { PLATFORMS } from '../types.ts';
import { planRestore } from './plan.ts';
import type { PlanInput, PlanStep, RestorePlan } from './types.ts';

const names = ({ steps }: RestorePlan): string[] => [...new Set(steps.map(({ name }) => name))];
const stepOf = (plan: RestorePlan, name: string): PlanStep => {
  const found = plan.steps.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no step ${name}`);
  return found;
};
const memberOf = (plan: RestorePlan, name: string): RestorePlan['members'][number] => {
  const found = plan.members.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no member ${name}`);
  return found;
};
/** Without what differs by its nature: the member's own name, places, and where the backup is read. */
const common = (line: string): string =>
  line.replace(/--member \S+/u, '').replace(/restore \S+ (--from \S+ )(--cluster \S+ )?/u, 'restore ');

describe('the order of the steps', () => {
  test('clients and every etcd stop before the first restore, and clients come back after the check', () => {
    expect(names(planRestore(plannedInput({ platform: 'kubeadm', source: plannedSource({ kubernetes: true }) })))).toEqual([
      'fetch',
      'stop-clients',
      'stop-etcd',
      'restore',
      'configure',
      'start-etcd',
      'check',
      'start-clients',
      'restart-caches',
      'clean-up',
    ]);
  });

  test.each(['rke2', 'k3s'] as const)('%s restores on one server by its own procedure', (platform) => {
    const plan = planRestore(plannedInput({ platform }));
    expect(names(plan)).toEqual([
      'export',
      'stop-clients',
      'reset',
      'start-first',
      'move-db',
      'start-others',
      'restart-caches',
      'clean-up',
    ]);
    expect(plan.members).toEqual([]);
    expect(stepOf(plan, 'reset').commands).toEqual([
      `${platform} server --cluster-reset --cluster-reset-restore-path=/var/tmp/etcd-warden-restore/${PLANNED_ID}.db`,
    ]);
    expect(stepOf(plan, 'move-db').commands.join('\n')).not.toContain('rm ');
    // All the places that its refusal may come from, and what it does not see of how the service is started.
    const { notes } = stepOf(plan, 'reset');
    const reset = notes.join('\n');
    for (const place of [`/etc/rancher/${platform}/config.yaml.d`, '--server in the unit', `${platform.toUpperCase()}_URL`])
      expect(reset).toContain(place);
    expect(reset).toMatch(/neither the flags nor the environment of the unit.*--data-dir/u);
    expect(stepOf(plan, 'restart-caches').notes.join('\n')).toContain(`delete secret NODE.node-password.${platform}, `);
  });
});

describe('every command of every platform', () => {
  const inputs = PLATFORMS.flatMap((platform) =>
    [true, false, undefined].flatMap((kubernetes) =>
      [
        plannedSource({ kubernetes }),
        plannedSource({ kubernetes, kind: 'file', name: "/srv/it's here/snap.db", stores: [], cluster: undefined }),
      ].map((source): PlanInput => plannedInput({ platform, source })),
    ),
  );

  test('is something a shell understands', () => {
    const lines = inputs.map(planRestore).flatMap(({ steps, members }) => [
      ...steps.flatMap(({ commands, notes }) => [
        ...commands,
        ...notes.flatMap((note) =>
          note
            .split('\n')
            .slice(1)
            .filter((line) => !line.startsWith('- ')),
        ),
      ]),
      ...members.flatMap(({ restore, fetch, etcdutl }) => [restore, ...fetch, ...(etcdutl.possible ? etcdutl.commands : [])]),
    ]);
    expect(lines.length).toBeGreaterThan(100);
    execFileSync('bash', ['-n'], { input: [...new Set(lines)].join('\n') });
  });

  test('survives JSON', () => {
    for (const plan of inputs.map(planRestore)) expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  test('removes no directory of etcd', () => {
    const removed = inputs
      .map(planRestore)
      .flatMap(({ steps }) => steps.flatMap(({ commands }) => commands.filter((line) => /\brm\b/u.test(line))));
    expect(new Set(removed)).toEqual(new Set(['rm -r /var/tmp/etcd-warden-restore']));
  });
});

describe('the restore command of each machine', () => {
  test('says the same on all of them but who is made there', () => {
    const plan = planRestore(
      plannedInput({
        attempt: 2,
        content: {
          ...WHOLE,
          revision: 11000n,
          only: [Buffer.from('/registry/')],
          without: [Buffer.from("/it's/")],
          defragmented: true,
          bump: 'none',
        },
        builderAsked: 'native',
        owner: 'etcd:etcd',
        acceptSuspect: true,
      }),
    );
    const [first = '', ...others] = plan.members.map(({ restore }) => restore);
    expect(first).toMatchInlineSnapshot(
      `"etcd-warden restore 20261122T100000123Z-k3f9qa --from /var/backups/etcd --member m1 --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380 --data-dir /var/lib/etcd --attempt 2 --revision 11000 --only /registry/ --without '/it'\\''s/' --defragmented --no-bump --etcd-version 3.6 --builder native --owner etcd:etcd --accept-suspect --replace"`,
    );
    for (const other of others) expect(common(other)).toBe(common(first));
  });

  test('repeats a token that was given, and none that is derived', () => {
    expect(planRestore(plannedInput()).members[0]?.restore).not.toContain('--initial-cluster-token');
    const given = planRestore(plannedInput({ tokenGiven: true }));
    for (const { restore } of given.members) expect(restore).toContain(`--initial-cluster-token ${given.token}`);
    expect(given.tokenFrom).toBe('given');
  });

  test('replaces what stands there, and does not say so where nothing does', () => {
    const input = plannedInput();
    const empty = planRestore({ ...input, targets: input.targets.map((target) => ({ ...target, occupied: false })) });
    for (const { restore } of empty.members) expect(restore).not.toContain('--replace');
  });

  test('is one for members of one machine whose folders differ by their names, so that the backup is read once', () => {
    const input = plannedInput();
    const here = (dataDir: (name: string) => string, walDir?: (name: string) => string): PlanStep[] =>
      planRestore({
        ...input,
        targets: input.targets.map((target) => ({
          ...target,
          here: true,
          occupied: false,
          dataDir: dataDir(target.member),
          walDir: walDir?.(target.member),
        })),
      }).steps.filter(({ name }) => name === 'restore');
    const [together, ...more] = here(
      (name) => `/srv/${name}/data`,
      (name) => `/wal/${name}`,
    );
    expect(more).toEqual([]);
    expect(together?.commands[0]).toContain('--member m1 --member m2 --member m3 --initial-cluster');
    expect(together?.commands[0]).toContain("--data-dir '/srv/{member}/data' --wal-dir '/wal/{member}'");
    expect(here((name) => (name === 'm1' ? '/srv/m1' : `/other/${name}`))).toHaveLength(3);
    expect(here(() => '/srv/data')).toHaveLength(3);
    expect(
      here(
        (name) => `/srv/${name}`,
        () => '/wal',
      ),
    ).toHaveLength(3);
  });

  test('names the configuration file that has to be there too', () => {
    const stores = [{ name: 'bucket', address: 's3://bucket/prefix', local: false, objects: [] }];
    const plan = planRestore(
      plannedInput({ source: plannedSource({ stores }), sourceFlags: ['--config', '/etc/w.yaml', '--cluster', 'main'] }),
    );
    expect(plan.steps.filter(({ name }) => name === 'restore').map(({ notes }) => notes)).toEqual([
      [],
      ['/etc/w.yaml has to be there too, or name the store with --from'],
      ['/etc/w.yaml has to be there too, or name the store with --from'],
    ]);
    expect(memberOf(plan, 'm2').restore).toContain(`restore ${PLANNED_ID} --config /etc/w.yaml --cluster main --member m2`);
  });
});

describe('how the backup gets to the others', () => {
  test('by itself, when a store that they reach holds it', () => {
    const stores = [...plannedSource().stores, { name: 'bucket', address: 's3://bucket', local: false, objects: [] }];
    const plan = planRestore(plannedInput({ source: plannedSource({ stores }) }));
    expect(names(plan)).not.toContain('fetch');
    expect(stepOf(plan, 'clean-up').commands).toEqual(["find /var/lib -maxdepth 2 -name '*.before-restore-*'"]);
  });

  test('as it is stored, so that it has its id and stays encrypted', () => {
    const plan = planRestore(
      plannedInput({
        source: plannedSource({ encrypted: true }),
        sourceFlags: ['--from', '/var/backups/etcd', '--identity-file', '/etc/id.txt'],
      }),
    );
    expect(memberOf(plan, 'm1').fetch).toEqual([]);
    expect(memberOf(plan, 'm2').fetch).toMatchInlineSnapshot(`
      [
        "tar -C /var/backups/etcd -cf - main/20261122T100000123Z-k3f9qa.db.zst main/20261122T100000123Z-k3f9qa.r12345.json | ssh 10.0.0.2 'umask 077 && mkdir -p /var/tmp/etcd-warden-restore && tar -C /var/tmp/etcd-warden-restore -xf -'",
      ]
    `);
    expect(memberOf(plan, 'm2').restore).toContain(
      '--from /var/tmp/etcd-warden-restore --cluster main --identity-file /etc/id.txt --member m2',
    );
    expect(plan.warnings.join('\n')).toContain('every machine that restores needs the identity');
  });

  test('without the identity, which has to be named there', () => {
    const notes = (sourceFlags: readonly string[]): string[] =>
      planRestore(plannedInput({ source: plannedSource({ encrypted: true }), sourceFlags })).steps.flatMap(
        ({ name, member, notes: said }) => (name === 'restore' && member === 'm2' ? said : []),
      );
    expect(notes(['--config', '/etc/w.yaml'])).toEqual([expect.stringContaining('--identity-file FILE as well')]);
    expect(notes(['--identity-file', '/id'])).toEqual([]);
  });

  test('a file under its own name, with a remark where nobody knows which machine this is', () => {
    const input = plannedInput({
      source: plannedSource({ kind: 'file', name: '/srv/snap one.db', stores: [], cluster: undefined }),
      sourceFlags: [],
    });
    const plan = planRestore({ ...input, targets: input.targets.map((target) => ({ ...target, here: undefined })) });
    expect(memberOf(plan, 'm3').fetch).toEqual([
      `ssh 10.0.0.3 'umask 077 && mkdir -p /var/tmp/etcd-warden-restore && cat > '\\''/var/tmp/etcd-warden-restore/snap one.db'\\''' < '/srv/snap one.db'`,
    ]);
    expect(memberOf(plan, 'm3').restore).toMatch(/^etcd-warden restore '\/var\/tmp\/etcd-warden-restore\/snap one\.db' --member m3 /u);
    expect(stepOf(plan, 'fetch').notes[0]).toContain('not needed when m1 is on this machine');
  });
});

describe('a machine without etcd-warden', () => {
  const way = (changes: Partial<PlanInput>): ReturnType<typeof memberOf>['etcdutl'] =>
    memberOf(planRestore(plannedInput(changes)), 'm2').etcdutl;
  const commands = (changes: Partial<PlanInput>): readonly string[] => {
    const found = way(changes);
    return found.possible ? found.commands : [];
  };

  test('makes the same member with etcdutl, told the very token', () => {
    const { token } = planRestore(plannedInput());
    expect(commands({}).map((line) => line.replaceAll(token, 'TOKEN'))).toMatchInlineSnapshot(`
      [
        "etcd-warden export 20261122T100000123Z-k3f9qa - --from /var/backups/etcd | ssh 10.0.0.2 'umask 077 && mkdir -p /var/tmp/etcd-warden-restore && cat > /var/tmp/etcd-warden-restore/20261122T100000123Z-k3f9qa.db'",
        "[ ! -e /var/lib/etcd ] || mv /var/lib/etcd /var/lib/etcd.before-restore-20261123T010000000Z",
        "etcdutl snapshot restore /var/tmp/etcd-warden-restore/20261122T100000123Z-k3f9qa.db --name=m2 --data-dir=/var/lib/etcd --initial-cluster=m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380 --initial-cluster-token=TOKEN --initial-advertise-peer-urls=https://10.0.0.2:2380",
        "[ ! -e /var/lib/etcd.before-restore-20261123T010000000Z ] || chown -R --reference=/var/lib/etcd.before-restore-20261123T010000000Z /var/lib/etcd",
      ]
    `);
  });

  test('moves a WAL directory away as well', () => {
    const input = plannedInput();
    const found = commands({ targets: input.targets.map((target) => ({ ...target, walDir: '/wal' })) });
    expect(found).toContain('[ ! -e /wal ] || mv /wal /wal.before-restore-20261123T010000000Z');
    expect(found.join('\n')).toContain('--wal-dir=/wal');
  });

  test('of etcd 3.4 does so with etcdctl, and is told what that leaves behind', () => {
    const found = way({ minor: '3.4' });
    expect(found.possible && found.commands[2]).toMatch(/^ETCDCTL_API=3 etcdctl snapshot restore /u);
    expect(found.possible && found.notes.join('\n')).toContain('leaves the members of the old cluster');
  });

  test('has to disarm what etcdutl keeps', () => {
    const found = way({ source: plannedSource({ alarms: ['NOSPACE'] }) });
    expect(found.possible && found.notes.join('\n')).toContain('etcdctl alarm disarm');
  });

  test.each([
    ['an older revision', { content: { ...WHOLE, revision: 11000n } }, 'newest revision'],
    ['some keys only', { content: { ...WHOLE, only: [Buffer.from('/a')] } }, 'all keys'],
    ['all keys but some', { content: { ...WHOLE, without: [Buffer.from('/a')] } }, 'all keys'],
    ['raised revisions', { content: { ...WHOLE, bump: { by: 5n } } }, 'revisions are raised, and'],
    ['keys of Kubernetes', { source: plannedSource({ kubernetes: true }) }, 'revisions are raised, and'],
    ['keys that nobody has looked at', { source: plannedSource({ kubernetes: undefined }) }, 'if keys of Kubernetes are found'],
  ] satisfies [string, Partial<PlanInput>, string][])('cannot restore %s', (_, changes, reason) => {
    expect(way(changes)).toEqual({ possible: false, reason: expect.stringContaining(reason) });
  });

  test('can restore Kubernetes where revisions shall stay', () => {
    expect(way({ content: { ...WHOLE, bump: 'none' }, source: plannedSource({ kubernetes: true }) }).possible).toBe(true);
  });
});

describe('what etcd is started with', () => {
  test('is the same as flags and as environment', () => {
    const { flags, environment } = memberOf(planRestore(plannedInput()), 'm2');
    expect(flags.map((flag) => flag.replace(/^--/u, '').split('=')[0])).toEqual(
      Object.keys(environment).map((name) =>
        name
          .replace(/^ETCD_/u, '')
          .toLowerCase()
          .replaceAll('_', '-'),
      ),
    );
    expect(flags.map((flag) => flag.slice(flag.indexOf('=') + 1))).toEqual(Object.values(environment));
  });

  test('never says `new`: an empty directory would become an empty member that the others take for their own', () => {
    for (const platform of PLATFORMS)
      for (const { flags, environment } of planRestore(plannedInput({ platform })).members) {
        expect(flags).toContain('--initial-cluster-state=existing');
        expect(environment['ETCD_INITIAL_CLUSTER_STATE']).toBe('existing');
      }
  });

  test('listens on addresses: etcd binds to no name', () => {
    const { flags } = memberOf(
      planRestore(plannedInput({}, 'm1=http://etcd-1.example:2380,m2=http://[2001:db8::2]:2380,m3=http://localhost:2380')),
      'm1',
    );
    expect(flags).toContain('--listen-peer-urls=http://0.0.0.0:2380');
    expect(flags).toContain('--initial-advertise-peer-urls=http://etcd-1.example:2380');
    const [short] = planRestore(plannedInput({}, 'm1=http://t:2380')).members;
    expect(short?.flags).toContain('--listen-peer-urls=http://0.0.0.0:2380');
    const others = planRestore(plannedInput({}, 'm1=http://[2001:db8::2]:2380,m2=http://localhost:2380')).members;
    expect(others.map(({ flags: [, , listen] }) => listen)).toEqual([
      '--listen-peer-urls=http://[2001:db8::2]:2380',
      '--listen-peer-urls=http://localhost:2380',
    ]);
  });

  test('has the client URLs that were told, those of known endpoints, or the usual port, which is said', () => {
    const input = plannedInput({ endpoints: ['https://10.0.0.2:4001', 'https://10.0.0.9:2379'] });
    const targets = input.targets.map((target) => (target.member === 'm1' ? { ...target, clientUrls: ['https://10.0.0.1:5000'] } : target));
    const plan = planRestore({ ...input, targets });
    expect(plan.members.map(({ clientUrls }) => clientUrls)).toEqual([
      ['https://10.0.0.1:5000'],
      ['https://10.0.0.2:4001'],
      ['https://10.0.0.3:2379'],
    ]);
    expect(plan.warnings).toContain('client URLs are assumed: port 2379 of the host of the first peer URL');
    const loopback = plannedInput(
      { endpoints: ['http://127.0.0.1:1', 'http://127.0.0.1:2'] },
      'm1=http://127.0.0.1:11,m2=http://127.0.0.1:12',
    );
    expect(memberOf(planRestore(loopback), 'm1').clientUrls).toEqual(['http://127.0.0.1:2379']);
  });

  test('stands in the manifest of kubeadm line by line', () => {
    const input = plannedInput({ platform: 'kubeadm' });
    const notes = planRestore(input)
      .steps.filter(({ name, member }) => name === 'configure' && member === 'm2')
      .flatMap(({ notes: all }) => all);
    expect(notes[1]?.split('\n').slice(1, 4)).toEqual([
      '- --name=m2',
      '- --data-dir=/var/lib/etcd',
      '- --initial-advertise-peer-urls=https://10.0.0.2:2380',
    ]);
  });
});

describe('stopping and starting', () => {
  test('uses the unit that etcd has', () => {
    const plan = planRestore(plannedInput({ unit: 'etcd-member' }));
    expect(stepOf(plan, 'stop-etcd').commands).toEqual(['systemctl stop etcd-member', '! systemctl is-active etcd-member']);
    expect(stepOf(plan, 'start-etcd').commands).toEqual(['systemctl start --no-block etcd-member']);
  });

  test('moves static pods out of the manifests folder and waits until their containers are gone', () => {
    const plan = planRestore(plannedInput({ platform: 'kubeadm' }));
    expect(stepOf(plan, 'stop-etcd').commands).toEqual([
      'mkdir -p -m 0700 /etc/kubernetes/manifests.before-restore',
      'mv /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/manifests.before-restore/',
      `until ids=$(crictl ps -q --name '^etcd$') && [ -z "$ids" ]; do sleep 1; done`,
    ]);
    expect(stepOf(plan, 'stop-clients').title).toBe('stop the API servers');
    expect(stepOf(plan, 'check').commands[0]).toContain('--cacert /etc/kubernetes/pki/etcd/ca.crt');
  });

  test('gives a whole command line where nobody knows how etcd is started', () => {
    const https = planRestore(plannedInput({ platform: 'plain' }));
    expect(stepOf(https, 'stop-etcd').commands).toEqual([]);
    const starts = https.steps.filter(({ name }) => name === 'start-etcd');
    expect(starts.map(({ member }) => member)).toEqual(['m1', 'm2', 'm3']);
    expect(starts[0]?.commands[0]).toMatch(/^etcd --name=m1 --data-dir=\/var\/lib\/etcd .*--initial-cluster-state=existing$/u);
    expect(starts[0]?.notes).toEqual(['with the other flags that it had, certificates among them']);
    const http = planRestore(plannedInput({ platform: 'plain' }, 'm1=http://10.0.0.1:2380'));
    expect(stepOf(http, 'start-etcd').notes).toEqual(['with the other flags that it had']);
  });

  test('speaks of API servers where there may be some, and of clients where there are none', () => {
    const titles = (kubernetes: boolean | undefined): string[] => {
      const plan = planRestore(plannedInput({ source: plannedSource({ kubernetes }) }));
      return [stepOf(plan, 'stop-clients').title, stepOf(plan, 'start-clients').title];
    };
    expect(titles(true)).toEqual(['stop the API servers', 'start the API servers']);
    expect(titles(undefined)).toEqual(['stop the clients; of Kubernetes, the API servers', 'start the API servers']);
    expect(titles(false)).toEqual(['stop everything that writes to this cluster', 'start the clients']);
  });

  test('asks with the flags that reach the members, whatever configuration file that machine has', () => {
    const plan = planRestore(plannedInput({ platform: 'kubeadm', accessFlags: ['--cacert', '/ca'] }));
    expect(stepOf(plan, 'check').commands).toEqual([
      'etcd-warden restore --check --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379 --record /var/lib/etcd.restore.json --cacert /ca',
    ]);
    const [configured] = stepOf(planRestore(plannedInput({ accessFlags: ['--config', '/etc/w.yaml'] })), 'check').commands;
    expect(configured).toMatch(/ --check https:.* --config \/etc\/w\.yaml$/u);
  });
});

describe('raised revisions', () => {
  const revisions = (changes: Partial<PlanInput>): RestorePlan['revisions'] => planRestore(plannedInput(changes)).revisions;
  const of = (kubernetes: boolean | undefined, revision: string | undefined = '12345'): Partial<PlanInput> => ({
    source: plannedSource({ kubernetes, revision }),
  });

  test('where Kubernetes caches them: from what to what, and why', () => {
    expect(revisions(of(true))).toEqual({
      raised: 'yes',
      by: '1000000000',
      from: '12345',
      to: '1000012345',
      why: expect.stringContaining('ErrCompacted'),
    });
    expect(revisions(of(undefined))).toMatchObject({ raised: 'if-kubernetes', to: '1000012345' });
    expect(revisions({ source: { ...plannedSource({ kubernetes: true }), revision: undefined } })).toEqual({
      raised: 'yes',
      by: '1000000000',
      why: expect.any(String),
    });
    expect(revisions(of(false))).toEqual({ raised: 'no', why: expect.stringContaining('no keys of Kubernetes') });
  });

  test('as told, from the revision that is restored', () => {
    expect(revisions({ content: { ...WHOLE, revision: 11000n, bump: { by: 10n } } })).toMatchObject({
      raised: 'yes',
      from: '11000',
      to: '11010',
    });
  });

  test('not when told so, with the danger where there may be Kubernetes', () => {
    const content = { ...WHOLE, bump: 'none' } as const;
    expect(revisions({ content, ...of(true) }).why).toContain('restart every one of them');
    expect(revisions({ content, ...of(false) })).toEqual({ raised: 'no', why: 'as told by --no-bump.' });
  });

  test('not by RKE2 and k3s, so that all that caches is restarted', () => {
    const plan = planRestore(plannedInput({ platform: 'k3s', ...of(true) }));
    expect(plan.revisions).toMatchObject({ raised: 'no' });
    expect(stepOf(plan, 'restart-caches').commands[0]).toBe('systemctl restart k3s-agent');
  });

  test('spare nobody the restart of what caches without watching', () => {
    const [raised, kept] = [true, false].map((bumped) =>
      stepOf(planRestore(plannedInput({ content: { ...WHOLE, bump: bumped ? 'auto' : 'none' }, ...of(true) })), 'restart-caches'),
    );
    expect(raised?.why).toContain('most clients notice by themselves');
    expect(kept?.why).toContain('miss what was restored');
  });
});

describe('what to know before', () => {
  const warned = (changes: Partial<PlanInput>, members?: string): string => planRestore(plannedInput(changes, members)).warnings.join('\n');

  test('the backup is not trusted, and why', () => {
    expect(warned({ source: plannedSource({ suspect: 'no member agreed', alarms: ['CORRUPT', 'NOSPACE'] }) })).toMatch(
      /suspect: no member agreed[^]*CORRUPT was armed[^]*NOSPACE was armed/u,
    );
  });

  test('how far the backup is from the time that was asked for', () => {
    const plan = planRestore(plannedInput({ source: plannedSource({ askedTime: '2026-11-22T11:00:00.123Z' }) }));
    expect(plan.source.gapMs).toBe(3_600_000);
    expect(plan.warnings.join()).toContain('is not in it');
    expect(planRestore(plannedInput()).source.gapMs).toBeUndefined();
  });

  test('no alarm has to be disarmed', () => {
    const notes = (alarms: readonly string[]): readonly string[] =>
      stepOf(planRestore(plannedInput({ source: plannedSource({ alarms }) })), 'check').notes;
    expect(notes(['NOSPACE'])).toEqual(['NOSPACE was left out of the directories: nothing has to be disarmed']);
    expect(notes([])).toEqual([]);
  });

  test('users and passwords are those of the backup', () => {
    expect(warned({ source: plannedSource({ auth: true }) })).toContain('users, roles and passwords');
  });

  test('an even number of members is worth no more than one less', () => {
    expect(warned({}, 'm1=http://10.0.0.1:1,m2=http://10.0.0.2:1')).toContain('2 members survive the loss of no more than 0, as 1 would');
    expect(warned({})).not.toContain('survive');
  });

  test('members at localhost are reached by nobody', () => {
    expect(warned({}, 'default=http://localhost:2380')).toContain('name them with --initial-cluster');
    expect(warned({ platform: 'rke2' }, 'default=http://localhost:2380')).not.toContain('--initial-cluster');
  });

  test('the other machines are only taken to be like this one', () => {
    expect(warned({})).toContain('taken to be like this one (systemd, etcd 3.6)');
    const alone = plannedInput({}, 'm1=http://10.0.0.1:2380');
    expect(planRestore(alone).warnings.join()).not.toContain('taken to be');
  });

  test('a plain file on RKE2 is written where the first server is, or sent there', () => {
    const note = (input: PlanInput): string => stepOf(planRestore(input), 'export').notes.join('\n');
    expect(note(plannedInput({ platform: 'rke2' }))).toContain('| ssh 10.0.0');
    expect(note(plannedInput({ platform: 'rke2' }, 'default=http://localhost:2380'))).toContain('| ssh FIRST-SERVER');
    const bucket = plannedSource({ stores: [{ name: 'b', address: 's3://b', local: false, objects: [] }] });
    expect(note(plannedInput({ platform: 'rke2', source: bucket }))).not.toContain('ssh');
  });
});

describe('what no snapshot holds', () => {
  const what = (changes: Partial<PlanInput>): string =>
    planRestore(plannedInput(changes))
      .notInSnapshot.map((each) => `${each.what}: ${each.where}`)
      .join('\n');

  test('of Kubernetes: PKI, service account keys and the encryption provider', () => {
    expect(what({ platform: 'kubeadm', source: plannedSource({ kubernetes: true }) })).toMatch(
      /pki\/etcd[^]*manifests\/etcd\.yaml[^]*service account keys[^]*--encryption-provider-config/u,
    );
  });

  test('of etcd alone: its certificates and settings', () => {
    expect(what({})).toContain('--trusted-ca-file');
    expect(what({})).not.toContain('service account');
  });

  test('of RKE2: the server token', () => {
    expect(what({ platform: 'rke2' })).toContain('/var/lib/rancher/rke2/server/token');
  });
});

test('a plan tells token, cluster id and member ids as etcd prints them', () => {
  const plan = planRestore(plannedInput());
  expect(plan.clusterId).toMatch(/^[1-9a-f][0-9a-f]*$/u);
  expect(plan.members.map(({ name, id }) => [name, /^[1-9a-f][0-9a-f]*$/u.test(id)])).toEqual([
    ['m1', true],
    ['m2', true],
    ['m3', true],
  ]);
  expect(plan.initialCluster).toBe('m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380');
  expect(planRestore(plannedInput({ attempt: 2 })).clusterId).not.toBe(plan.clusterId);
});
