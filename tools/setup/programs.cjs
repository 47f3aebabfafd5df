'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { unpackDebian } = require('./debian.cjs');
const { cachedFolder, find, inFolder, stampOf } = require('./find.cjs');
const { buildWithGo, findGo, obtainGo } = require('./golang.cjs');
const { withLock } = require('./lock.cjs');
const { manifestFile, readManifest, writeManifest } = require('./manifest.cjs');
const { run } = require('./run.cjs');
const { published } = require('./publish.cjs');
const { say, step, teaching } = require('./say.cjs');
const { MODES, PROGRAMS, pinnedVersion } = require('./table.cjs');

// What the demo takes if it is there, in this order.
const DEMO_ETCDS = ['etcd-3.6', 'etcd-3.7', 'etcd-3.5', 'etcd-any', 'etcd-3.4'];
// The one that builds fastest, for a demo on a machine whose distribution has no etcd.
const FASTEST_BUILD = 'etcd-3.7';

/** Finds or makes every program of `wanted` and writes down where they are. Tells whether it did anything. */
async function ensurePrograms(wanted) {
  const known = readManifest();
  const missing = chooseEtcd(wanted, known).filter((name) => !usable(known[name]));
  if (missing.length === 0) return false;

  const failures = [];
  const found = {};
  const toMake = [];
  for (const name of missing) {
    const result = find(name);
    if (result) found[name] = tell(name, result);
    else toMake.push(name);
  }
  // Two lanes, because that many builds fit on a small machine: what Go builds, one after the other, and what is downloaded.
  const lanes = [toMake.filter((name) => PROGRAMS[name].go), toMake.filter((name) => !PROGRAMS[name].go)];
  await Promise.all(
    lanes.map(async (lane) => {
      for (const name of lane) {
        try {
          found[name] = tell(name, await make(name));
        } catch (error) {
          failures.push({ name, error });
        }
      }
    }),
  );
  await withLock(`${manifestFile()}.lock`, async () => {
    const stamped = Object.entries(found).map(([name, result]) => [name, { ...result, stamp: stampOf(result.paths) }]);
    writeManifest({ ...readManifest(), ...Object.fromEntries(stamped) });
  });
  if (failures.length > 0) throw teaching(explain(failures));
  return true;
}

/** `one-etcd` becomes an etcd that is there already, else the quickest to get. */
function chooseEtcd(wanted, known) {
  return wanted.map((name) => {
    if (name !== 'one-etcd') return name;
    const there = DEMO_ETCDS.find((each) => usable(known[each])) || DEMO_ETCDS.find((each) => find(each));
    // Unpacking takes seconds, building minutes.
    return there || 'etcd-any';
  });
}

function usable(entry) {
  return entry !== undefined && entry.stamp !== undefined && stampOf(entry.paths) === entry.stamp;
}

async function make(name) {
  const folder = cachedFolder(name);
  return withLock(`${folder}.lock`, async () => {
    // Another setup may have made it while this one waited.
    const already = find(name);
    if (already) return already;
    const reasons = [];
    for (const { way, attempt } of ways(name, folder)) {
      try {
        await attempt();
        const made = find(name);
        if (made) return made;
        reasons.push(`${way}: what came out does not run here`);
      } catch (error) {
        reasons.push(`${way}: ${error.message}`);
      }
    }
    throw new Error(reasons.join('\n  '));
  });
}

/** The ways to get a program, in the order they are tried. */
function ways(name, folder) {
  const { debian, go, pip } = PROGRAMS[name];
  const list = [];
  if (go) list.push({ way: 'with Go', attempt: () => makeWithGo(name, folder) });
  if (debian) list.push({ way: 'from Debian', attempt: () => makeFromDebian(name, folder) });
  if (name === 'etcd-any') list.push({ way: `${FASTEST_BUILD} with Go`, attempt: () => makeWithGo(FASTEST_BUILD, folder) });
  if (pip) list.push({ way: 'with pip', attempt: () => makeWithPip(name, folder) });
  return list;
}

async function makeWithGo(name, folder) {
  const go = findGo() || (await obtainGo());
  if (go === undefined) throw new Error('no Go 1.21 or newer on this machine');
  await step(`${name}: building ${pinnedVersion(name)} with Go ${go.version}`, () =>
    published(folder, (partial) => buildWithGo(name, go, partial)),
  );
}

async function makeFromDebian(name, folder) {
  const { commands, debian } = PROGRAMS[name];
  await step(`${name}: unpacking Debian's ${debian.packages.join(', ')}`, () => unpackDebian(debian, folder));
  if (inFolder(name, path.join(folder, 'usr/bin'))) return;
  // The machine lacks libraries which came along, or has others: run the commands with those that were unpacked.
  fs.mkdirSync(path.join(folder, 'bin'), { recursive: true });
  const libraries = libraryFolders(folder).map((each) => `$here/${each}`);
  for (const command of commands) {
    const script = `#!/bin/sh\nhere=$(cd "$(dirname "$0")/.." && pwd)\nLD_LIBRARY_PATH="${libraries.join(':')}" exec "$here/usr/bin/${command}" "$@"\n`;
    fs.writeFileSync(path.join(folder, 'bin', command), script, { mode: 0o755 });
  }
}

function libraryFolders(folder) {
  return ['lib', 'usr/lib']
    .filter((each) => fs.existsSync(path.join(folder, each)))
    .flatMap((each) =>
      fs
        .readdirSync(path.join(folder, each))
        .filter((name) => name.endsWith('-linux-gnu'))
        .map((name) => `${each}/${name}`),
    )
    .flatMap((each) => [each, `${each}/systemd`]);
}

async function makeWithPip(name, folder) {
  const { pip } = PROGRAMS[name];
  await step(`${name}: installing ${pip} from the Python index`, async () => {
    // A virtual environment cannot be renamed (its scripts name their folder), so it is made in place; the lock keeps others away.
    fs.rmSync(folder, { recursive: true, force: true });
    await run('python3', ['-m', 'venv', folder]);
    await run(path.join(folder, 'bin/python3'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', pip]);
  });
}

function tell(name, result) {
  say(`${name}: ${result.version} (${result.from}: ${path.dirname(Object.values(result.paths)[0])})`);
  return result;
}

function explain(failures) {
  const list = failures.map(({ name, error }) => `${name}\n  install ${PROGRAMS[name].install}\n  ${error.message}`);
  return `these programs could neither be found nor made; install them, or name a folder that holds them in ETCD_WARDEN_TOOLS:\n\n${list.join('\n\n')}`;
}

module.exports = { ensurePrograms, MODES };
