'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const GO_MODULES = path.resolve(__dirname, '../go');

/** The per-user cache: built and unpacked programs, shared by every checkout of this user. */
function cacheFolder() {
  const home = process.env.XDG_CACHE_HOME;
  // The XDG rules: a relative path counts as unset.
  const base = home && path.isAbsolute(home) ? home : path.join(os.homedir(), '.cache');
  return path.join(base, 'etcd-warden');
}

/** A short name for the pins of a tools module: another go.sum is another build. */
function pinsOf(goModule) {
  const hash = crypto.createHash('sha256');
  for (const file of ['go.mod', 'go.sum']) hash.update(fs.readFileSync(path.join(GO_MODULES, goModule, file)));
  return hash.digest('hex').slice(0, 8);
}

/** Where the found paths are written down. Two checkouts with different pins share the cache, but not this file. */
function manifestFile() {
  const hash = crypto.createHash('sha256');
  for (const goModule of fs.readdirSync(GO_MODULES).sort()) hash.update(`${goModule} ${pinsOf(goModule)}\n`);
  return path.join(cacheFolder(), `programs-${hash.digest('hex').slice(0, 8)}.json`);
}

/** The programs by name (`etcd-3.6`, `versitygw`, ...), each with its paths. Empty when setup has not run or its choice is out of date. */
function readManifest() {
  try {
    const manifest = JSON.parse(fs.readFileSync(manifestFile(), 'utf8'));
    return manifest.chosenFolders === (process.env.ETCD_WARDEN_TOOLS || '') ? manifest.programs : {};
  } catch {
    // Missing or cut short: setup finds everything again and rewrites it.
    return {};
  }
}

function writeManifest(programs) {
  const file = manifestFile();
  const temporary = `${file}.${process.pid}`;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(temporary, `${JSON.stringify({ chosenFolders: process.env.ETCD_WARDEN_TOOLS || '', programs }, null, 2)}\n`);
  fs.renameSync(temporary, file);
}

module.exports = { cacheFolder, GO_MODULES, manifestFile, pinsOf, readManifest, writeManifest };
