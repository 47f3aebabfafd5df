'use strict';
// Apart from bin/etcd-warden, because an old Node could not even parse import().
const { pathToFileURL } = require('node:url');

// Node's compile cache (module.enableCompileCache) would spare a tenth of the start, and is not used: it keeps code that the next root runs outside of what a package
// manager installs and checks, and a restore is what a machine runs once, when there is no cache yet.

// Of a young generation this small nothing is left to share: helper threads cost more to wake than they collect, a tenth of a restore's processor time.
const FLAGS = ['--max-semi-space-size=2', '--single-threaded-gc'];
/** Those that pass gigabytes through themselves. */
const PIPES = ['backup', 'restore', 'drill', 'verify'];

module.exports = function start(file) {
  // A backup's or a restore's memory is its promise to whoever runs etcd on the same machine, and what V8 lets pile up in a young generation of 64 MiB is a quarter of
  // it. This can be said only before a process starts (and keeps its number: systemd and containers see one process); V8 does take such flags later, but dies of some.
  // A start costs 40 ms. The daemon's jobs get it as an argument.
  if (PIPES.includes(process.argv[2]) && !process.execArgv.includes(FLAGS[0]) && process.execve !== undefined) {
    process.execve(process.execPath, [process.execPath, ...FLAGS, ...process.execArgv, ...process.argv.slice(1)]);
  }
  // The daemon waits most of its life, and needs no young generation of 16 MiB for that: it rests some 12 MiB lower without (Node 24.21).
  // Here, because what the imports have let grow does not shrink again. Its jobs are processes of their own, at full speed.
  if (process.argv[2] === 'run') require('node:v8').setFlagsFromString('--optimize-for-size');
  import(pathToFileURL(file).href).catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
};
