const started = performance.now();

/** One sentence, with the seconds since the start. */
export function say(text: string): void {
  process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${text}\n`);
}

export function title(text: string): void {
  process.stdout.write(`\n${text}\n`);
}
