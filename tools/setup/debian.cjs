'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { withLock } = require('./lock.cjs');
const { cacheFolder } = require('./manifest.cjs');
const { published } = require('./publish.cjs');
const { run } = require('./run.cjs');

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
// apt lists of our own older than this are fetched again before anything is downloaded by them.
const LISTS_MAX_AGE_MS = 3_600_000;

/**
 * Downloads Debian packages and unpacks them into `folder`, as any user and without installing: `want` is
 * `{ packages, libraries?, suite?, version? }`, or `{ newest, beside }` for the newest package whose name matches, and those that belong to it.
 */
async function unpackDebian(want, folder) {
  await published(folder, async (root) => {
    const work = path.join(root, 'downloads');
    fs.mkdirSync(work);
    await download(want, work);
    for (const file of fs.readdirSync(work).filter((each) => each.endsWith('.deb'))) {
      await run('dpkg-deb', ['-x', path.join(work, file), root]);
    }
    fs.rmSync(work, { recursive: true });
  });
}

async function download(want, cwd) {
  try {
    // The lists of this machine: quick, if they are there and not too old.
    return await downloadBy(['-o', 'APT::Sandbox::User='], want, cwd);
  } catch {
    // Lists of our own need no root.
    return await downloadBy(await ownLists(want.suite), want, cwd);
  }
}

async function downloadBy(options, want, cwd) {
  const packages = want.packages || (await newest(options, want));
  if (want.version) {
    const policy = await apt('apt-cache', [...options, 'policy', packages[0]]);
    const candidate = (/Candidate: (?:\d+:)?(\S+)/.exec(policy) || [])[1];
    if (candidate === undefined || !want.version.test(candidate)) throw new Error(`Debian's ${packages[0]} is ${candidate || 'not there'}`);
  }
  await apt('apt-get', [...options, 'download', ...packages], { cwd });
  for (const library of want.libraries || []) {
    // Their names change from one Debian to the next, and most machines have them: whether the command runs is what decides.
    await apt('apt-get', [...options, 'download', library], { cwd }).catch(() => undefined);
  }
}

async function newest(options, want) {
  const names = (await apt('apt-cache', [...options, 'pkgnames', 'golang-1.'])).split('\n').filter((name) => want.newest.test(name));
  names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  if (names.length === 0) throw new Error('no package that fits is in the lists');
  const name = names[names.length - 1];
  return [name, ...want.beside(name)];
}

/** apt's options for lists kept in our cache: the machine's own mirror, with the suite that is wanted and backports. */
async function ownLists(suite) {
  const files = await apt('apt-get', ['update', '--print-uris']);
  const mirror = /^'(\S+\/debian)\/dists\/([a-z]+)\/InRelease'/m.exec(files);
  if (mirror === null) throw new Error('apt has no Debian mirror in its sources');
  const [, uri, codename] = mirror;
  const suites = suite ? [suite] : [codename, `${codename}-backports`];
  const home = path.join(cacheFolder(), 'apt', suites.join('+'));
  for (const folder of ['state/lists/partial', 'cache/archives/partial']) fs.mkdirSync(path.join(home, folder), { recursive: true });
  const sources = path.join(home, 'sources.list');
  fs.writeFileSync(sources, suites.map((each) => `deb [signed-by=${KEYRING}] ${uri} ${each} main\n`).join(''));
  const options = [
    `Dir::Etc::SourceList=${sources}`,
    'Dir::Etc::SourceParts=/dev/null',
    // Without this the machine's pins apply; a backport would never be a candidate.
    'Dir::Etc::PreferencesParts=/dev/null',
    `Dir::State=${path.join(home, 'state')}`,
    'Dir::State::status=/dev/null',
    `Dir::Cache=${path.join(home, 'cache')}`,
    'Acquire::Languages=none',
    'APT::Sandbox::User=',
  ].flatMap((option) => ['-o', option]);
  const fetched = path.join(home, 'fetched');
  await withLock(`${home}.lock`, async () => {
    if (fs.existsSync(fetched) && Date.now() - fs.statSync(fetched).mtimeMs < LISTS_MAX_AGE_MS) return;
    await apt('apt-get', [...options, 'update']);
    fs.writeFileSync(fetched, '');
  });
  return options;
}

function apt(command, args, options = {}) {
  return run(command, args, { ...options, env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' } });
}

module.exports = { unpackDebian };
