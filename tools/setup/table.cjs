'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { GO_MODULES } = require('./manifest.cjs');

/**
 * The real programs, by name: the commands each brings, how a found one is recognised, and where it comes from when none is found. Versions of
 * what Go builds are read from the tools module that pins them, so that there is one place to change.
 */
const PROGRAMS = {
  'etcd-3.4': {
    commands: ['etcd', 'etcdctl'],
    asks: { etcd: ['--version'], etcdctl: ['version'] },
    minor: '3.4',
    // 3.4 has no module path that Go could resolve; Debian 12 has it.
    debian: { packages: ['etcd-server', 'etcd-client'], suite: 'bookworm', version: /^3\.4\./ },
    install: 'the packages etcd-server and etcd-client of Debian 12, or a release of etcd 3.4',
  },
  'etcd-3.5': etcd('3.5'),
  'etcd-3.6': etcd('3.6'),
  'etcd-3.7': etcd('3.7'),
  // For the demo: whatever etcd the distribution has.
  'etcd-any': {
    commands: ['etcd', 'etcdctl'],
    asks: { etcd: ['--version'], etcdctl: ['version'] },
    debian: { packages: ['etcd-server', 'etcd-client'] },
    install: 'etcd 3.4 or newer, or Go 1.21 or newer',
  },
  versitygw: {
    commands: ['versitygw'],
    asks: { versitygw: ['--version'] },
    go: { module: 'versitygw', pin: 'github.com/versity/versitygw', packages: { versitygw: 'github.com/versity/versitygw/cmd/versitygw' } },
    install: 'Go 1.21 or newer, or VersityGW',
  },
  age: {
    commands: ['age', 'age-keygen'],
    asks: { age: ['--version'], 'age-keygen': ['--version'] },
    go: {
      module: 'age',
      pin: 'filippo.io/age',
      packages: { age: 'filippo.io/age/cmd/age', 'age-keygen': 'filippo.io/age/cmd/age-keygen' },
    },
    debian: { packages: ['age'] },
    install: 'the package age',
  },
  bbolt: {
    commands: ['bbolt'],
    asks: { bbolt: ['version'] },
    go: { module: 'bbolt', pin: 'go.etcd.io/bbolt', packages: { bbolt: 'go.etcd.io/bbolt/cmd/bbolt' } },
    install: 'Go 1.21 or newer, or the bbolt command',
  },
  zstd: {
    commands: ['zstd'],
    asks: { zstd: ['--version'] },
    debian: { packages: ['zstd'], libraries: ['libzstd1', 'liblz4-1'] },
    install: 'the package zstd',
  },
  'systemd-analyze': {
    commands: ['systemd-analyze'],
    asks: { 'systemd-analyze': ['--version'] },
    debian: {
      packages: ['systemd', 'libsystemd-shared'],
      libraries: ['libseccomp2', 'libmount1', 'libblkid1', 'libkmod2', 'libapparmor1', 'libip4tc2', 'libcap-ng0'],
    },
    install: 'the package systemd',
  },
  strace: {
    commands: ['strace'],
    asks: { strace: ['--version'] },
    debian: { packages: ['strace'], libraries: ['libunwind8', 'libdw1', 'libelf1', 'liblzma5'] },
    install: 'the package strace',
  },
  aws: {
    commands: ['aws'],
    asks: { aws: ['--version'] },
    pip: 'awscli==1.46.3',
    install: 'Python 3.10 or newer with pip, or awscli',
  },
};

/** What each mode of setup needs; `one-etcd` is whichever etcd is quickest to get. */
const MODES = {
  unit: [],
  demo: ['one-etcd'],
  test: ['etcd-3.6', 'versitygw', 'etcd-3.5', 'etcd-3.7', 'etcd-3.4', 'age', 'bbolt', 'zstd', 'systemd-analyze', 'strace'],
  bench: ['etcd-3.6', 'versitygw', 'age', 'zstd', 'aws'],
};

function etcd(minor) {
  return {
    commands: ['etcd', 'etcdctl', 'etcdutl'],
    asks: { etcd: ['--version'], etcdctl: ['version'], etcdutl: ['version'] },
    minor,
    go: {
      module: `etcd-${minor}`,
      pin: 'go.etcd.io/etcd/server/v3',
      packages: { etcd: 'go.etcd.io/etcd/server/v3', etcdctl: 'go.etcd.io/etcd/etcdctl/v3', etcdutl: 'go.etcd.io/etcd/etcdutl/v3' },
    },
    install: `Go 1.21 or newer, or a release of etcd ${minor}`,
  };
}

/** The version that a program's tools module pins, or undefined for one that Go does not build. */
function pinnedVersion(name) {
  const { go } = PROGRAMS[name];
  if (go === undefined) return undefined;
  const lines = fs.readFileSync(path.join(GO_MODULES, go.module, 'go.mod'), 'utf8').split('\n');
  const line = lines.find((each) =>
    each
      .trim()
      .replace(/^require /, '')
      .startsWith(`${go.pin} v`),
  );
  return / v(\S+)/.exec(line)[1];
}

module.exports = { MODES, PROGRAMS, pinnedVersion };
