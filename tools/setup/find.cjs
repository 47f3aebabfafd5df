'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { cacheFolder, pinsOf } = require('./manifest.cjs');
const { PROGRAMS, pinnedVersion } = require('./table.cjs');

/** Looks for a program where it may already be: the chosen folders, PATH, the cache. Builds and downloads nothing. */
function find(name) {
  return findChosen(name) || findInPath(name) || findInCache(name);
}

/** A folder of ETCD_WARDEN_TOOLS may hold `etcd-3.6/etcd`, or `etcd` itself when its version is the one wanted. */
function findChosen(name) {
  const folders = (process.env.ETCD_WARDEN_TOOLS || '').split(path.delimiter).filter(Boolean);
  for (const folder of folders) {
    const found = inFolder(name, path.resolve(folder, name)) || inFolder(name, path.resolve(folder));
    if (found) return { from: 'ETCD_WARDEN_TOOLS', ...found };
  }
  return undefined;
}

function findInPath(name) {
  for (const folder of (process.env.PATH || '').split(path.delimiter)) {
    if (!path.isAbsolute(folder)) continue;
    const found = inFolder(name, folder);
    // An older patch release than the pinned one may lack a fix that the tests rely on.
    if (found && !olderThan(found.version, pinnedVersion(name))) return { from: 'PATH', ...found };
  }
  return undefined;
}

function findInCache(name) {
  const folder = cachedFolder(name);
  const found = inFolder(name, folder) || inFolder(name, path.join(folder, 'bin')) || inFolder(name, path.join(folder, 'usr/bin'));
  return found && { from: 'cache', ...found };
}

/** Where a program is kept in the cache. The pins are part of the name: a changed go.sum is built anew, beside the old one. */
function cachedFolder(name) {
  const { go, pip } = PROGRAMS[name];
  const suffix = go ? `${pinnedVersion(name)}-${pinsOf(go.module)}` : pip ? pip.split('==')[1] : 'debian';
  return path.join(cacheFolder(), 'tools', `${name.replace(/-3\.[567]$/, '')}-${suffix}`);
}

/** All commands of a program in one folder, each answering with a version that fits; else undefined. */
function inFolder(name, folder) {
  const { commands, asks, minor } = PROGRAMS[name];
  const paths = {};
  let version;
  for (const command of commands) {
    const file = path.join(folder, command);
    if (!fs.existsSync(file)) return undefined;
    const said = versionOf(file, asks[command]);
    if (said === undefined || (minor && !said.startsWith(`${minor}.`))) return undefined;
    paths[command] = file;
    version = version || said;
  }
  return { version, paths };
}

function versionOf(file, args) {
  const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', timeout: 20_000 });
  if (status !== 0) return undefined;
  // Some are built without a version ("(devel)"): that they run is what counts.
  const match = /\d+\.\d+(\.\d+)?/.exec(stdout + stderr);
  return match ? match[0] : 'unknown';
}

function olderThan(version, wanted) {
  if (wanted === undefined || version === 'unknown') return false;
  const [left, right] = [version, wanted].map((each) => each.split('.').map(Number));
  for (let i = 0; i < 3; i++) {
    if ((left[i] || 0) !== (right[i] || 0)) return (left[i] || 0) < (right[i] || 0);
  }
  return false;
}

/** Changes when one of the files was replaced, for instance by an update of the machine's packages. Undefined if one is gone. */
function stampOf(paths) {
  try {
    return Object.values(paths)
      .map((file) => fs.statSync(file).mtimeMs)
      .join(' ');
  } catch {
    return undefined;
  }
}

module.exports = { cachedFolder, find, inFolder, olderThan, stampOf, versionOf };
