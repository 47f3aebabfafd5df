'use strict';
const fs = require('node:fs');

/**
 * Makes a folder under another name and renames it when it is whole: a setup that is killed leaves nothing that looks finished. Called under the
 * folder's lock, so that what a killed one left behind can be removed.
 */
async function published(folder, work) {
  const partial = `${folder}.partial`;
  fs.rmSync(partial, { recursive: true, force: true });
  fs.mkdirSync(partial, { recursive: true });
  try {
    await work(partial);
    fs.rmSync(folder, { recursive: true, force: true });
    fs.renameSync(partial, folder);
  } finally {
    fs.rmSync(partial, { recursive: true, force: true });
  }
}

module.exports = { published };
