import { formatDurationShort } from '../../config/units.ts';
import { WardenError } from '../../errors.ts';
import { drillStores } from '../../jobs/drill.ts';
import type { DrillLine } from '../../jobs/types.ts';
import { renderTable, type Column } from '../output/table.ts';
import { clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options, context, output, loaded } = invocation;
  const [id] = invocation.arguments;
  return withReadStores(invocation, async (stores) => {
    const cluster = await readCluster(invocation, stores);
    const configured = clusterSettings(loaded, cluster);
    if (configured === undefined)
      throw new WardenError('usage', `cluster ${cluster} is not configured`, {
        hint: `configured are: ${Object.keys(loaded.config.clusters).join(', ')}`,
      });
    const { drill } = configured;
    const etcd = given(options['etcd']) ?? drill.etcd;
    const settings = { ...configured, drill: { ...drill, etcd, sharedDisk: drill.sharedDisk || options['sharedDisk'] === true } };
    const store = given(options['store']);
    const lines = await drillStores(stores, { cluster, settings, stores: store === undefined ? undefined : [store], id }, context);
    const text = [renderTable(COLUMNS, lines, output.width), ...notes(lines)].join('\n');
    return { exitCode: exitCodeOf(lines), json: { cluster, results: lines }, text };
  });
}

function given(option: unknown): string | undefined {
  return typeof option === 'string' ? option : undefined;
}

/** What was not done is no success: 3 when something was, else 1, or 12 where the key is what is missing. */
function exitCodeOf(lines: readonly DrillLine[]): number {
  if (lines.some(({ outcome }) => outcome === 'failed')) return 13;
  const missing = lines.filter(({ outcome }) => outcome === 'inconclusive');
  if (missing.length === 0) return 0;
  if (missing.length < lines.length) return 3;
  return missing.every(({ code }) => code === 'key-missing') ? 12 : 1;
}

function notes(lines: readonly DrillLine[]): string[] {
  if (lines.some(({ outcome }) => outcome === 'failed'))
    return ['', 'A restore would not hold what the backup promises: try an older one with `etcd-warden drill ID`, and take a new backup.'];
  if (lines.some(({ level, outcome }) => outcome === 'ok' && level === 'offline'))
    return ['', 'Checked offline: that proves the files, not that an etcd starts on them. --etcd names one.'];
  return [];
}

const COLUMNS: readonly Column<DrillLine>[] = [
  { title: 'STORE', value: ({ store }) => store },
  { title: 'ID', value: ({ id }) => id ?? '' },
  { title: 'RESULT', value: ({ outcome }) => (outcome === 'inconclusive' ? 'not done' : outcome) },
  { title: 'RECOVERY', align: 'right', value: ({ recoveryMs }) => (recoveryMs === undefined ? '' : formatDurationShort(recoveryMs)) },
  { title: 'ETCD', value: ({ outcome, level, etcd }) => etcd ?? (outcome === 'ok' ? (level ?? '') : '') },
  { title: 'KEYS', align: 'right', spare: 1, value: ({ keyCount }) => (keyCount === undefined ? '' : String(keyCount)) },
  { title: 'COMPARED', align: 'right', spare: 2, value: ({ sampled }) => (sampled === undefined ? '' : String(sampled)) },
  { title: 'WHY', wrap: true, value: ({ reason }) => reason ?? '' },
];
