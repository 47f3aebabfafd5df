'use strict';
const { spawn } = require('node:child_process');

/** Runs a command to its end; the last lines of its output are in the error if it fails. Resolves to its standard output. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let both = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
      both = (both + chunk).slice(-8000);
    });
    child.stderr.on('data', (chunk) => {
      both = (both + chunk).slice(-8000);
    });
    child.on('error', (error) => reject(new Error(`cannot run ${command}: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(output);
      const lines = both.trim().split('\n').slice(-15).join('\n  ');
      return reject(new Error(`${command} ${args.join(' ')} ended with ${signal || code}:\n  ${lines}`));
    });
  });
}

module.exports = { run };
