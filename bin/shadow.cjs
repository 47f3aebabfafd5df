'use strict';
// Old syntax: an old Node runs this on its way to a newer one.
var childProcess = require('child_process');
var fs = require('fs');

// SIGUSR1 belongs to Node's debugger.
var FORWARDED = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR2'];

/** Runs another Node and becomes its shadow: same standard streams, same signals, same end. */
module.exports = function shadow(node, args) {
  var child = childProcess.spawn(node, args, { stdio: 'inherit' });
  FORWARDED.forEach(function (signal) {
    process.on(signal, function () {
      if (!(fromTerminal(signal) && inForeground())) child.kill(signal);
    });
  });
  child.on('error', function (error) {
    process.stderr.write('cannot run ' + node + ': ' + error.message + '\n');
    process.exit(1);
  });
  child.on('exit', function (code, signal) {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
};

function fromTerminal(signal) {
  return signal === 'SIGINT' || signal === 'SIGQUIT';
}

/**
 * Whether a terminal sends its Ctrl-C to this process. Then it sends it to the child too, which is in the same group: forwarding would make
 * one Ctrl-C two, and two mean "at once". Without /proc (macOS), a terminal as standard input is taken for it.
 */
function inForeground() {
  try {
    // proc(5): after the command in parentheses come state, ppid, pgrp, session, tty_nr, tpgid.
    var fields = fs.readFileSync('/proc/self/stat', 'utf8').split(') ').pop().split(' ');
    return fields[2] === fields[5];
  } catch (error) {
    return process.stdin.isTTY;
  }
}
