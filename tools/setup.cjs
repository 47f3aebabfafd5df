'use strict';
// Makes a checkout ready: packages, the pinned Node, and the real programs that demo, tests and benchmarks run against.
// It uses nothing but Node itself (18 or newer), because it runs before anything is installed. See docs/development.md.

var major = Number(process.versions.node.split('.')[0]);
if (major < 18) {
  console.error(
    'setup needs Node 18 or newer to start (it then installs the pinned one), found ' + process.versions.node + ': ' + process.execPath,
  );
  process.exit(1);
}

const path = require('node:path');
const shadow = require('../bin/shadow.cjs');
const { ensurePackages, ensureNode, PINNED_NODE, ROOT } = require('./setup/packages.cjs');
const { ensurePrograms, MODES } = require('./setup/programs.cjs');
const { say, seconds } = require('./setup/say.cjs');

const USAGE = `usage: node tools/setup.cjs [${Object.keys(MODES).join('|')}] [--s3] [--then FILE [ARGUMENTS]]

  unit    the locked packages and the pinned Node
  demo    the same, and one etcd; with --s3 VersityGW too
  test    the same, and every program that the tests run
  bench   packages, Node, and what the benchmarks run and compare with

  --then  afterwards run FILE with the pinned Node; --s3 among its arguments counts here too

Programs are looked for in the folders of ETCD_WARDEN_TOOLS, in PATH and in the cache, then built or unpacked into the cache.`;

async function main(args) {
  const started = Date.now();
  const then = args.indexOf('--then');
  const own = then === -1 ? args : args.slice(0, then);
  const mode = own.find((arg) => !arg.startsWith('-')) || 'test';
  const unknown = own.some((arg) => arg !== mode && arg !== '--s3');
  if (unknown || !Object.hasOwn(MODES, mode)) {
    console.error(USAGE);
    process.exitCode = own.includes('--help') ? 0 : 2;
    return;
  }
  const wanted = MODES[mode].concat(args.includes('--s3') ? ['versitygw'] : []);
  // One after the other, although they could overlap: npm is what a first run fails on, and a failure should come before minutes of building.
  let changed = await ensurePackages();
  changed = ensureNode() || changed;
  changed = (await ensurePrograms(wanted)) || changed;
  if (changed) say(`everything for "${mode}" is in place (${seconds(started)})`);
  if (then !== -1) shadow(PINNED_NODE, [path.resolve(ROOT, args[then + 1]), ...args.slice(then + 2)]);
}

main(process.argv.slice(2)).catch((error) => {
  say(error.teaches ? error.message : error.stack);
  process.exitCode = 1;
});
