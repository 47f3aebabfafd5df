/** docs/configuration.md, written from the option table. `config docs` prints it and a test holds the file current. */
import { FORMATS } from './formats.ts';
import { envName, flagName, type Option } from './option.ts';
import { OPTIONS } from './options.ts';

const INTRODUCTION = `# Configuration

<!-- Written by \`etcd-warden config docs\` from the option table in src/config; a test holds it current. -->

\`config/etcd-warden.yaml\` is an example that works as it stands. \`etcd-warden config check\` tries a file without starting anything,
\`etcd-warden config print\` shows what counts after merging, with the origin of each value and secrets masked.

## Which file

1. \`--config PATH\`, else
2. the variable \`ETCD_WARDEN_CONFIG\`, else
3. \`/etc/etcd-warden/config.yaml\`, if it exists and none of \`--endpoints\`, \`--to\` and \`--from\` is given, else
4. none: one cluster and one store come from flags and variables.

\`\`\`sh
etcd-warden backup --endpoints https://10.0.0.1:2379 --cacert ca.pem --cert client.pem --key client-key.pem --to /var/backups/etcd
etcd-warden list --from s3://etcd-backups/production
\`\`\`

A value in the file goes before the default, a variable before the file, a flag before the variable. Variables and flags exist for the top level,
and for the cluster and the store of a call without a file. Beside a file, the flags of clusters and stores are a usage error and their variables
are ignored with a warning; \`--cluster NAME\` then chooses among its clusters. Only \`compact\`, \`defrag\` and \`disarm\` take the flags of
\`maintenance\` and \`--no-coordinate\` beside a file too: they go over what it says of that cluster.

Without a file the cluster is called \`--cluster\` (or \`ETCD_WARDEN_CLUSTER\`), else \`default\`, and the variables of etcdctl that are named below
count as well, below ours. \`ETCDCTL_USER\` may be \`user:password\`. \`ETCDCTL_INSECURE_TRANSPORT=false\` makes addresses without a scheme https.
\`ETCDCTL_DISCOVERY_SRV\` is not supported and says so.

\`--to\` and \`--from\` (\`ETCD_WARDEN_TO\` and \`ETCD_WARDEN_FROM\` without a file) name the store of one call: a configured store's name, a path, or
\`s3://BUCKET/PREFIX\`. They mean the same, except in \`copy\`, where they are destination and source. A single word is a store's name if there is a
file, else a folder; \`./word\` is always a folder. Nothing in an s3:// address is percent-decoded. Stores given in this way are called \`local\` and
\`s3\` (with six more letters when the file has another store of that name).

## How values are written

* A **duration** is \`500ms\`, \`30s\`, \`5m\`, \`6h\`, \`1d\`, \`2w\`, or several from large to small: \`1d12h\`. Case matters. A number without a unit is an
  error, except \`0\`.
* A **size** is \`512MiB\` or \`8GiB\` (powers of 1024), \`500MB\` or \`8GB\` (powers of 1000), or a number of bytes.
* A **list** is a YAML list; in flags and variables, words with commas between them.
* A **cron expression** has five fields: minute, hour, day of month, month, weekday. Fields hold numbers, names of months and weekdays, \`*\`,
  ranges, lists of both, and steps after \`*\` or a range. Sunday is 0 or 7. Day of month and weekday cannot both be given, because programs
  differ in whether a day must be one or both; neither can what only some of them know (\`L\`, \`W\`, \`#\`, \`?\`, \`@daily\`, ranges that wrap around).
  A schedule that never comes round (30 February) is an error. Six fields, with seconds first, are for tests and demonstrations.
  A fixed time that a change of clocks skips runs at the first moment after it; one that happens twice runs once.
* A **name** of a cluster or store has 1 to 40 lower-case letters, digits and hyphens and starts with a letter or digit. Names become parts of
  object keys: renaming a cluster makes its backups belong to another one.
* A **file** may be \`credential:NAME\`, for what systemd's \`LoadCredential=\` hands to the unit.
* A relative **path** in a file is relative to that file's folder, elsewhere to the working directory.
* Anchors and aliases of YAML work; tags, merge keys (\`<<\`) and several documents in one file do not.

## Secrets

No flag carries a secret. Each secret \`X\` can be given, nearest to the command line first, as

* \`XFile: PATH\`, or its flag \`--…-file PATH\` or variable \`…_FILE\`: a file whose last line end is cut off,
* the variable of \`X\`, or in a file \`X: env:NAME\` for a variable of any name,
* \`X: credential:NAME\`, a file in systemd's credentials directory (\`LoadCredential=\`),
* nothing: then the credentials named in the table are looked for, first with the name of the cluster or store before it (\`main.etcd-password\`), then without,
* \`X: TEXT\` in the configuration file itself, which others must not be able to read then (\`chmod 600\`).

A secret is checked when the configuration is loaded, for the verbs that use it, and read again at each use, so that a rotated file counts.

| secret | credential |
|---|---|
| \`password\` | \`etcd-password\` |
| \`encryption.identity\` | \`age-identity\` |
| \`api.token\` | \`api-token\` |
| \`accessKeyId\`, \`secretAccessKey\`, \`sessionToken\`, \`customerKey\` | \`s3-access-key-id\`, \`s3-secret-access-key\`, \`s3-session-token\`, \`s3-customer-key\` |
`;

/** The whole reference, in Markdown. */
export function docsMarkdown(): string {
  return [
    INTRODUCTION,
    section('The top level', 'The process itself, and one map each of clusters and stores.', OPTIONS.daemon),
    section('`clusters.NAME`', 'One cluster. One daemon serves as many as there are.', OPTIONS.cluster),
    section('`stores.NAME` with `type: local`', 'A folder. Without a file: `--to PATH`.', OPTIONS.local),
    section(
      '`stores.NAME` with `type: s3`',
      'A bucket of S3 or of a server that speaks it. Without a file: `--to s3://BUCKET/PREFIX`.',
      OPTIONS.s3,
    ),
  ].join('\n');
}

function section(title: string, sentence: string, options: readonly Option[]): string {
  return [`## ${title}\n`, `${sentence}\n`, ...options.map(entry)].join('\n');
}

/** A heading of its own, so that every option can be linked to. */
function entry(option: Option): string {
  const variable = envName(option);
  const flag = flagName(option);
  const lines = [`* Value: ${valueKind(option)}.`];
  if (option.required === true && option.computed === undefined) lines.push('* Required.');
  const fallback = option.computed ?? defaultText(option);
  if (fallback !== undefined) lines.push(`* Default: ${fallback}.`);
  if (option.example !== undefined) lines.push(`* Example: \`${option.path.split('.').at(-1)!}: ${option.example}\``);
  const names = [
    flag === undefined ? undefined : `\`${flagText(flag, option)}\``,
    variable === undefined ? undefined : `\`${variable}\``,
    option.etcdctl === undefined ? undefined : `\`${option.etcdctl}\``,
  ].filter((name) => name !== undefined);
  if (names.length > 0)
    lines.push(
      `* Flag and variable: ${names.join(', ')}.`.replace('Flag and variable', flag === undefined ? 'Variable' : 'Flag and variables'),
    );
  return `### \`${option.path}\`\n\n${option.doc}\n\n${lines.join('\n')}\n`;
}

function valueKind(option: Option): string {
  const bounds = [
    option.min === undefined ? undefined : `at least \`${option.min}\``,
    option.max === undefined ? undefined : `at most \`${option.max}\``,
  ].filter((bound) => bound !== undefined);
  const kind = option.choices === undefined ? FORMATS[option.format].expected : option.choices.map((choice) => `\`${choice}\``).join(', ');
  return [kind, ...bounds].join(', ');
}

function flagText(flag: string, option: Option): string {
  if (option.format !== 'boolean' || option.default === undefined) return `--${flag}`;
  return option.default === true ? `--no-${flag}` : `--${flag}`;
}

function defaultText(option: Option): string | undefined {
  if (option.default === undefined) return undefined;
  if (Array.isArray(option.default)) return 'none';
  return option.default === '' ? 'empty' : `\`${String(option.default)}\``;
}
