/** The version of this build, from package.json, which stands at the same place beside src and beside dist. */
import { readFileSync } from 'node:fs';

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string };

export const version: string = manifest.version;

/** What manifests and checks name as their maker. */
export const toolName = `etcd-warden ${version}`;
