'use strict';
// Apart from bin/etcd-warden, because an old Node could not even parse import().
const { pathToFileURL } = require('node:url');
const { setFlagsFromString } = require('node:v8');

module.exports = function start(file) {
  // The daemon waits most of its life, and needs no young generation of 16 MiB for that: it rests some 12 MiB lower without (Node 24.21).
  // Here, because what the imports have let grow does not shrink again. Its jobs are processes of their own, at full speed.
  if (process.argv[2] === 'run') setFlagsFromString('--optimize-for-size');
  import(pathToFileURL(file).href).catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
};
