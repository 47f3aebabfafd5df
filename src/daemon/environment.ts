/**
 * The environment of a job. /proc shows it to whoever may look at the process, and crash reports copy it: so only names on this list go
 * there, and what may be a credential travels over IPC instead. NOTIFY_SOCKET and WATCHDOG_* stay with the daemon: systemd would take a
 * job's word for the daemon's.
 */

/** Nothing here holds a secret; node reads some of them only when a process starts. */
const INHERITED =
  /^(PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|UV_THREADPOOL_SIZE|XDG_(CACHE|CONFIG|STATE|DATA|RUNTIME)_(HOME|DIR))$/;

/** What the S3 SDK's chain of credentials and the proxy agents read while they run. */
const OVER_IPC = /^(AWS_\w+|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy)$/;
/** Set by the tests that kill a process at a named point, and by nobody else. */
const TESTS = /^ETCD_WARDEN_(CRASH_AT|TEST)$/;

export function inheritedEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  return pick(environment, (name) => INHERITED.test(name) || TESTS.test(name));
}

export function environmentOverIpc(environment: NodeJS.ProcessEnv): Record<string, string> {
  return pick(environment, (name) => OVER_IPC.test(name));
}

function pick(environment: NodeJS.ProcessEnv, wanted: (name: string) => boolean): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined && wanted(entry[0])),
  );
}
