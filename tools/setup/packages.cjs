'use strict';
const { execFileSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { withLock } = require('./lock.cjs');
const { run } = require('./run.cjs');
const { say, step, teaching } = require('./say.cjs');

const ROOT = path.resolve(__dirname, '../..');
const MODULES = path.join(ROOT, 'node_modules');
// Inside node_modules, so that whoever removes the folder removes the stamp with it.
const STAMP = path.join(MODULES, '.etcd-warden-setup');
const PINNED_NODE = path.join(MODULES, '.bin', 'node');
// The first 22.x that runs TypeScript without a flag.
const OLDEST_NODE = [22, 18];

/** Installs the locked packages unless node_modules already holds exactly them. Tells whether it did anything. */
async function ensurePackages() {
  const lockfile = fs.readFileSync(path.join(ROOT, 'package-lock.json'));
  const wanted = `${crypto.createHash('sha256').update(lockfile).digest('hex')} ${process.platform} ${process.arch}`;
  if (readStamp() === wanted) return false;
  return withLock(path.join(ROOT, '.tmp', 'setup.lock'), async () => {
    if (readStamp() === wanted) return true;
    if (installed(JSON.parse(lockfile.toString()))) {
      say('packages: node_modules matches package-lock.json');
    } else {
      await step('packages: npm ci', install);
    }
    fs.writeFileSync(STAMP, wanted);
    return true;
  });
}

/** npm keeps a lockfile of what it installed; equal versions and checksums mean that there is nothing to do. */
function installed(lock) {
  let hidden;
  try {
    hidden = JSON.parse(fs.readFileSync(path.join(MODULES, '.package-lock.json'), 'utf8')).packages;
  } catch {
    return false;
  }
  return Object.entries(lock.packages).every(([where, wanted]) => {
    if (where === '' || wanted.link || !where.startsWith('node_modules/')) return true;
    const found = hidden[where];
    if (found === undefined) return wanted.optional === true;
    // npm leaves the checksum out of its own list for a package that it found in place; the version must do then.
    return found.version === wanted.version && (found.integrity === undefined || found.integrity === wanted.integrity);
  });
}

async function install() {
  // No install scripts: none is needed (the pinned Node and esbuild come as plain files), and what is not run cannot do harm.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  // Under `npm run` the very npm that was called is used; PATH may lead to a node inside the folder that is being replaced.
  const npm = process.env.npm_execpath;
  try {
    if (npm && /npm-cli\.c?js$/.test(npm)) await run(process.execPath, [npm, ...args], { cwd: ROOT });
    else await run('npm', args, { cwd: ROOT });
  } catch (error) {
    throw teaching(
      `the packages of package-lock.json could not be installed. Check that npm reaches its registry, then try again.\n${error.message}`,
    );
  }
}

/** Makes sure that there is a Node which runs TypeScript: the pinned one, or the one this runs on where no pinned one is published. */
function ensureNode() {
  const mark = `${STAMP}-node`;
  if (fs.existsSync(mark)) return false;
  const version = pinnedVersion();
  if (version !== undefined) {
    say(`node: ${version} (pinned by tools/node)`);
  } else {
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
      throw teaching(
        `no pinned Node for ${process.platform} ${process.arch}, and this one is ${process.versions.node}: install Node ${OLDEST_NODE.join('.')} or newer (24 is what is tested)`,
      );
    }
    fs.mkdirSync(path.dirname(PINNED_NODE), { recursive: true });
    fs.rmSync(PINNED_NODE, { force: true });
    fs.symlinkSync(process.execPath, PINNED_NODE);
    say(`node: ${process.versions.node} of this machine (none is pinned for ${process.platform} ${process.arch})`);
  }
  fs.writeFileSync(mark, '');
  return true;
}

function pinnedVersion() {
  try {
    return execFileSync(PINNED_NODE, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

function readStamp() {
  try {
    return fs.readFileSync(STAMP, 'utf8');
  } catch {
    return undefined;
  }
}

module.exports = { ensurePackages, ensureNode, PINNED_NODE, ROOT };
