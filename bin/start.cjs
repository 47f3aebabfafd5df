'use strict';
// Apart from bin/etcd-warden, because an old Node could not even parse import().
const { pathToFileURL } = require('node:url');

module.exports = function start(file) {
  import(pathToFileURL(file).href).catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
};
