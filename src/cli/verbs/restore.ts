import { WardenError, errorDetails } from '../../errors.ts';
import { accessOf } from '../../etcd/access.ts';
import { loadCatalog } from '../../jobs/catalog.ts';
import { identityFor } from '../../jobs/identity.ts';
import { performRestore } from '../../jobs/restore/perform.ts';
import { prepareRestore, type PreparedRestore, type RestoreInputs } from '../../jobs/restore/prepare.ts';
import { planRestore } from '../../restore/plan/plan.ts';
import type { RestorePlan } from '../../restore/plan/types.ts';
import { noteTo } from '../output/note.ts';
import { restoredJson, restoredText } from '../output/restored.ts';
import { printable, wrapText } from '../output/table.ts';
import { fileNamed, restoreOrder } from '../restore-order.ts';
import { planInput } from '../restore-plan-input.ts';
import { planText } from '../restore-plan.ts';
import { clusterSettings, readCluster, withReadStores } from '../selection.ts';
import type { Answer, Invocation } from '../verb.ts';

export async function run(invocation: Invocation): Promise<Answer> {
  const { options } = invocation;
  if (options['check'] !== undefined) return (await import('./restore-check.ts')).check(invocation);
  const alone = ['record', 'timeout'].find((name) => options[name] !== undefined);
  if (alone !== undefined)
    throw new WardenError('usage', `--${alone} goes with --check`, { hint: 'etcd-warden restore --check ENDPOINTS --record FILE' });
  return withInputs(invocation, (cluster, inputs) => restore(invocation, cluster, inputs));
}

/** A file needs no store, and no configuration. */
async function withInputs(
  invocation: Invocation,
  work: (cluster: string | undefined, inputs: RestoreInputs) => Promise<Answer>,
): Promise<Answer> {
  const { loaded, context, options } = invocation;
  const known = async (name: string | undefined): Promise<Pick<RestoreInputs, 'identities' | 'access'>> => {
    const settings = name === undefined ? undefined : clusterSettings(loaded, name);
    return { identities: await identityFor(settings), access: settings === undefined ? undefined : accessOf(settings) };
  };
  if (fileNamed(invocation) !== undefined) {
    const name = loaded.selected.cluster ?? Object.keys(loaded.config.clusters)[0];
    return work(name, { stores: [], catalog: undefined, ...(await known(name)) });
  }
  return withReadStores(invocation, async (stores) => {
    const only = options['store'];
    if (typeof only === 'string' && !stores.some(({ name }) => name === only))
      throw new WardenError('usage', `there is no store named ${only}`, {
        hint: `there are: ${stores.map(({ name }) => name).join(', ')}`,
      });
    const cluster = await readCluster(invocation, stores);
    const catalog = await loadCatalog(stores, cluster, context.signal);
    return work(cluster, { stores, catalog, ...(await known(cluster)) });
  });
}

async function restore(invocation: Invocation, cluster: string | undefined, inputs: RestoreInputs): Promise<Answer> {
  const { loaded, context, output } = invocation;
  const order = restoreOrder(invocation, cluster === undefined ? undefined : clusterSettings(loaded, cluster));
  const prepared = await prepareRestore(order, inputs, context);
  try {
    const plan = planRestore(planInput(invocation, order, prepared, inputs));
    if (order.members.planOnly) return planned(prepared, plan, output.width);
    const [refusal, ...more] = prepared.refusals;
    // Whoever mends one thing at a time would come back for each.
    for (const { message } of more) noteTo(invocation, `also refused: ${message}`);
    if (refusal !== undefined) throw refusal;
    for (const note of prepared.notes) noteTo(invocation, note);
    await consent(invocation, prepared);
    const performed = await performRestore(prepared, inputs.stores, context);
    return { json: restoredJson(prepared, performed, plan), text: restoredText(prepared, performed, plan, output.width) };
  } finally {
    await prepared.close();
  }
}

/** Nothing is done: whatever would be refused as things are now stands above what to do. */
function planned({ notes, refusals }: PreparedRestore, plan: RestorePlan, width: number): Answer {
  const head = [
    ...refusals.map(({ message, hint }) => `refused as things are now: ${message}${hint === undefined ? '' : ` (${hint})`}`),
    ...notes.map((note) => `note: ${note}`),
  ].map((line) => wrapText(printable(line), width));
  return {
    json: { outcome: 'planned', ...plan, notes, refusals: refusals.map(errorDetails) },
    text: [...head, ...(head.length === 0 ? [] : ['']), planText(plan)].join('\n'),
  };
}

/** Empty directories need no question. What stands there is moved, never removed; but an etcd that is started again must find it. */
async function consent({ options, ask, json }: Invocation, { request, everyTarget }: PreparedRestore): Promise<void> {
  if (options['yes'] === true || ask === undefined || json) return;
  const names = new Set(request.targets.map(({ member }) => member));
  const replaced = everyTarget.filter(({ member, occupied }) => names.has(member) && occupied === true);
  if (replaced.length === 0) return;
  const places = replaced.map(({ dataDir }) => dataDir).join(', ');
  const question = `replace ${places} by ${request.source.name}, keeping what is there now as NAME.before-restore-TIME?`;
  if (!(await ask(printable(question)))) throw new WardenError('refused', 'nobody said yes; nothing was touched');
}
