/** What setup found for one program, and where it came from. */
export interface FoundProgram {
  from: string;
  version: string;
  paths: Record<string, string>;
}

export function cacheFolder(): string;
export function manifestFile(): string;
export function readManifest(): Record<string, FoundProgram>;
