/** What other folders use of the configuration. */
export { NAME, parseStoreAddress, type StoreAddress } from './address.ts';
export { docsMarkdown } from './docs.ts';
export { flagOptions, type FlagOption, type FlagScope } from './flags.ts';
export { loadConfig, type LoadedConfig, type LoadInput, type Use } from './load.ts';
export { packConfig, unpackConfig } from './pack.ts';
export { printConfig, printedConfig, type PrintedConfig } from './print.ts';
export { ConfigError, describeOrigin, describeProblem, type ConfigProblem } from './problems.ts';
export { formatBytes, formatDuration, formatDurationShort, parseBytes, parseDuration } from './units.ts';
