/** The library for YAML, when the first file is read: its seventy modules take longer than all the rest of a command that needs no file. */
import { createRequire } from 'node:module';

type Library = typeof import('yaml');

// An import that waits would make whoever loads a configuration wait as well.
const require = createRequire(import.meta.url);

/** The same object every time. */
export function yaml(): Library {
  return require('yaml') as Library;
}
