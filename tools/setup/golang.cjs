'use strict';
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { unpackDebian } = require('./debian.cjs');
const { olderThan, versionOf } = require('./find.cjs');
const { withLock } = require('./lock.cjs');
const { cacheFolder, GO_MODULES } = require('./manifest.cjs');
const { run } = require('./run.cjs');
const { step } = require('./say.cjs');
const { PROGRAMS } = require('./table.cjs');

// The first Go that fetches the toolchain which a go.mod names, when it is too old itself.
const OLDEST_GO = '1.21';

/** A Go that can build the tools modules: of this machine, or one unpacked into the cache earlier. */
function findGo() {
  const folders = (process.env.PATH || '').split(path.delimiter).concat('/usr/local/go/bin', '/usr/lib/go/bin', unpackedGo() || []);
  for (const folder of folders) {
    const command = path.join(folder, 'go');
    if (!path.isAbsolute(command) || !fs.existsSync(command)) continue;
    const version = versionOf(command, ['version']);
    if (version !== undefined && version !== 'unknown' && !olderThan(version, OLDEST_GO)) return { command, version };
  }
  return undefined;
}

/** Unpacks Debian's Go into the cache: for a machine that has nothing but git, Node and npm. */
async function obtainGo() {
  const folder = path.join(cacheFolder(), 'tools', 'golang-debian');
  await withLock(`${folder}.lock`, async () => {
    if (unpackedGo()) return;
    await step('go: not found, unpacking the one of Debian', () =>
      unpackDebian({ newest: /^golang-1\.(2[1-9]|[3-9]\d)-go$/, beside: (name) => [name.replace(/-go$/, '-src')] }, folder),
    );
  });
  return findGo();
}

function unpackedGo() {
  const lib = path.join(cacheFolder(), 'tools', 'golang-debian', 'usr/lib');
  const name = fs.existsSync(lib) && fs.readdirSync(lib).find((each) => each.startsWith('go-1.'));
  return name ? path.join(lib, name, 'bin') : undefined;
}

/** Builds the commands of one tools module into `folder`. */
async function buildWithGo(name, go, folder) {
  const { module, packages } = PROGRAMS[name].go;
  const cwd = path.join(GO_MODULES, module);
  const env = { ...process.env, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' };
  const needed = /^go (\S+)/m.exec(fs.readFileSync(path.join(cwd, 'go.mod'), 'utf8'))[1];
  if (olderThan(go.version, needed)) env.GOTOOLCHAIN = 'auto';
  // Go wants a home for its caches, which service accounts may lack.
  if (!env.HOME) env.HOME = os.homedir();
  fs.mkdirSync(folder, { recursive: true });
  for (const [command, pkg] of Object.entries(packages)) {
    await run(go.command, ['build', '-trimpath', '-ldflags=-s -w', '-o', path.join(folder, command), pkg], { cwd, env });
  }
}

module.exports = { buildWithGo, findGo, obtainGo };
