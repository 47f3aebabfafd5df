import { docsMarkdown } from '../../config/docs.ts';
import { printConfig, printedConfig } from '../../config/print.ts';
import { WardenError } from '../../errors.ts';
import type { Answer, Invocation } from '../verb.ts';

/** The configuration was loaded before this runs: with errors it would have been refused, all of them listed, with exit code 2. */
export async function run({ arguments: [action], loaded }: Invocation): Promise<Answer> {
  switch (action) {
    case 'check': {
      const { file, clusters, stores } = loaded.config;
      const summary = { file: file ?? null, clusters: Object.keys(clusters), stores: Object.keys(stores) };
      return {
        json: { ...summary, warnings: loaded.warnings },
        text: `${file ?? 'no configuration file'}: sound; clusters: ${summary.clusters.join(', ')}; stores: ${summary.stores.join(', ') || 'none'}`,
      };
    }
    case 'print':
      return { json: printedConfig(loaded), text: printConfig(loaded).trimEnd() };
    default:
      throw new WardenError('usage', `config ${action ?? ''} is not known`, { hint: 'config check, config print or config docs' });
  }
}

/** `config docs`, which is wanted most when the configuration does not load. */
export function documentation(): Answer {
  return { json: { markdown: docsMarkdown() }, text: docsMarkdown().trimEnd() };
}
