'use strict';

/** Everything that setup says goes to standard error: the output of what runs after it stays clean. */
function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}

function seconds(startedMs) {
  return `${((Date.now() - startedMs) / 1000).toFixed(1)} s`;
}

/** Says what is done and, afterwards, how long it took. */
async function step(what, work) {
  const started = Date.now();
  say(`${what} ...`);
  const result = await work();
  say(`${what}: done in ${seconds(started)}`);
  return result;
}

/** An error whose message is all that the reader needs: it is shown without a stack. */
function teaching(message) {
  return Object.assign(new Error(message), { teaches: true });
}

module.exports = { say, seconds, step, teaching };
