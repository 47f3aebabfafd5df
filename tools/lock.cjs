'use strict';
// Writes package-lock.json anew from package.json: `npm run lock`, after a change of dependencies.
//
// Two things that plain `npm install` gets wrong here. Beside an existing node_modules it leaves out checksums. And where a registry mirror
// lacks the packages of other systems (native parts of development tools, all optional), it leaves those out of the lockfile, and `npm ci` then
// refuses the lockfile everywhere. So it works in an empty folder, and writes the missing ones down as what they are: exact versions for
// another system, to be skipped here.
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const ROOT = path.resolve(__dirname, '..');
const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const CPUS = ['arm64', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'x64'];

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'etcd-warden-lock-'));
try {
  for (const each of ['package.json', '.npmrc', 'tools/node']) fs.cpSync(path.join(ROOT, each), path.join(work, each), { recursive: true });
  // npm prefers what fits the Node it runs on, so it has to be the pinned one: under `npm run` this is.
  execFileSync(process.execPath, [process.env.npm_execpath, 'install', '--package-lock-only', '--ignore-scripts'], {
    cwd: work,
    stdio: 'inherit',
  });
  const lock = JSON.parse(fs.readFileSync(path.join(work, 'package-lock.json'), 'utf8'));
  complete(lock.packages);
  fs.writeFileSync(path.join(ROOT, 'package-lock.json'), `${JSON.stringify(lock, null, 2)}\n`);
} finally {
  fs.rmSync(work, { recursive: true });
}

function complete(packages) {
  for (const [where, { dev, optionalDependencies = {} }] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const entry = `node_modules/${name}`;
      if (packages[entry] || packages[`${where}/${entry}`]) continue;
      const system = SYSTEMS.find((each) => name.includes(each));
      const cpu = CPUS.find((each) => name.includes(each));
      if (!system || !cpu || !/^\d/.test(version)) throw new Error(`${where} needs ${name}@${version}, which the registry does not have`);
      const libc = system !== 'linux' ? undefined : name.includes('musl') ? ['musl'] : ['glibc'];
      packages[entry] = { version, cpu: [cpu], ...(dev && { dev }), ...(libc && { libc }), optional: true, os: [system] };
    }
  }
}
