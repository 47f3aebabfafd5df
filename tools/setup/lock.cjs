'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { say } = require('./say.cjs');

const POLL_MS = 200;

/**
 * Runs `work` while holding a lock file, so that two setups at once do not build or install the same thing twice. The file holds the pid of its
 * owner; a lock whose owner is dead is taken over. What is made under the lock is still published by one rename: a lock that fails costs time,
 * never a half-made tool.
 */
async function withLock(file, work) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  let told = false;
  while (!take(file)) {
    if (!told) say(`waiting for another setup; if there is none, delete ${file}`);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}

function take(file) {
  const own = `${file}.${process.pid}`;
  // Written whole beside the lock and linked into place: nobody ever reads a lock that has no pid in it yet.
  fs.writeFileSync(own, String(process.pid));
  try {
    fs.linkSync(own, file);
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    breakIfDead(file);
    return false;
  } finally {
    fs.rmSync(own, { force: true });
  }
}

function breakIfDead(file) {
  const owner = readPid(file);
  if (owner === undefined || alive(owner)) return;
  const grave = `${file}.dead.${process.pid}`;
  try {
    fs.renameSync(file, grave);
    // Between reading and renaming another setup may have done the same and taken the lock: then it goes back.
    if (readPid(grave) !== owner) fs.linkSync(grave, file);
  } catch {
    // Someone else broke it first. The next try will see.
  }
  fs.rmSync(grave, { force: true });
}

function readPid(file) {
  try {
    return Number(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

module.exports = { withLock };
