/** Words for a POSIX shell, so that what a plan prints can be pasted whatever names and paths are in it. */

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/u;

/** One word. `=` first would be an assignment to some shells, `~` is expanded: both are quoted. */
export function quote(word: string): string {
  return PLAIN.test(word) && !word.startsWith('=') ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A command of several words. */
export function command(...words: readonly string[]): string {
  return words.map(quote).join(' ');
}

/** Runs a script on another machine: what stands in it was quoted for the shell over there already. */
export function over(host: string, script: string): string {
  return `ssh ${quote(host)} ${quote(script)}`;
}

/** Of a URL: what ssh takes, without the brackets of an IPv6 address. */
export function hostOf(url: string): string {
  return url
    .replace(/^[a-z]+:\/\//u, '')
    .replace(/:\d+$/u, '')
    .replace(/^\[(.*)\]$/u, '$1');
}
