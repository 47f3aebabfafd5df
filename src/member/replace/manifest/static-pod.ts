/**
 * The manifest of a static pod, as kubeadm writes it: what etcd is started with, and the one line of initial-cluster-state. The YAML is parsed for its positions
 * and never written anew, so that comments, order and quoting stay as they are. Pure.
 */
import { isMap, isScalar, isSeq, parseAllDocuments, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml';
import { inserted, notUnderstood, replaced, UNCHANGED, type Edit } from './edit.ts';
import { startConfig, type StartConfig } from './start-config.ts';

const FLAG = 'initial-cluster-state';
const VARIABLE = 'ETCD_INITIAL_CLUSTER_STATE';

interface Container {
  /** Of command and args, in this order, with the list that each stands in. */
  readonly words: readonly { readonly scalar: Scalar<string>; readonly list: YAMLSeq }[];
  readonly variables: readonly { readonly name: string; readonly value: Scalar<string> }[];
}

/** @param where its path. @throws WardenError `refused` when it is no pod with one etcd */
export function readManifest(where: string, text: string): StartConfig {
  const { words, variables } = etcdOf(where, text);
  return startConfig(
    where,
    words.map(({ scalar }) => scalar.value),
    Object.fromEntries(variables.map(({ name, value }) => [name, value.value])),
  );
}

/** @throws WardenError `refused` for what this does not understand */
export function existingInManifest(where: string, text: string): Edit {
  const container = etcdOf(where, text);
  const edit = edited(where, text, container);
  // Read again as etcd would: what counts is not the line but what comes of it.
  const [before, after] = [readManifest(where, text), readManifest(where, edit.text)];
  if (after.initialClusterState !== 'existing' || after.initialCluster !== before.initialCluster || after.name !== before.name)
    throw notUnderstood(where, 'the line that would be changed is not the one that counts');
  return edit;
}

function edited(where: string, text: string, { words, variables }: Container): Edit {
  const flags = words.flatMap((word, index) => (/^--?initial-cluster-state(=|$)/.test(word.scalar.value) ? [{ ...word, index }] : []));
  const set = variables.filter(({ name }) => name === VARIABLE);
  if (flags.length > 1 || set.length > 1) throw notUnderstood(where, `${FLAG} is given more than once`);
  const [flag] = flags;
  if (flag !== undefined) {
    const apart = !flag.scalar.value.includes('=');
    const scalar = apart ? words[flag.index + 1]?.scalar : flag.scalar;
    if (scalar === undefined) throw notUnderstood(where, `--${FLAG} has no value`);
    return changed(where, text, scalar, apart ? '' : flag.scalar.value.slice(0, flag.scalar.value.indexOf('=') + 1));
  }
  const [variable] = set;
  if (variable !== undefined) return changed(where, text, variable.value, '');
  return added(where, text, words);
}

/** @param prefix what stands in the scalar before the value */
function changed(where: string, text: string, scalar: Scalar<string>, prefix: string): Edit {
  const value = scalar.value.slice(prefix.length);
  if (value === 'existing') return { text, ...UNCHANGED };
  if (value !== 'new') throw notUnderstood(where, `${FLAG} is ${JSON.stringify(value)}, and neither new nor existing`);
  const { start, end, quote } = written(where, text, scalar);
  return replaced(where, text, start, end, `${quote}${prefix}existing${quote}`);
}

/** kubeadm writes the flag for joined members only: without it etcd counts as new. */
function added(where: string, text: string, words: Container['words']): Edit {
  const cluster = words.find(({ scalar }) => /^--?initial-cluster=/.test(scalar.value));
  if (cluster === undefined) throw notUnderstood(where, `it has neither --${FLAG} nor --initial-cluster=...`);
  const { start, quote } = written(where, text, cluster.scalar);
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const lead = /^([ \t]*- +)$/.exec(text.slice(lineStart, start))?.[1];
  if (cluster.list.flow === true || lead === undefined)
    throw notUnderstood(where, `--${FLAG} is not there, and its arguments are not a list of lines`);
  return inserted(text, start, `${lead}${quote}--${FLAG}=existing${quote}`);
}

/** Where a scalar stands, when it is written as it reads. */
function written(
  where: string,
  text: string,
  scalar: Scalar<string>,
): { readonly start: number; readonly end: number; readonly quote: string } {
  const [start, end] = scalar.range ?? [0, 0];
  const source = text.slice(start, end);
  const quote = /^["']/.exec(source)?.[0] ?? '';
  if (source !== `${quote}${scalar.value}${quote}`)
    throw notUnderstood(where, `${JSON.stringify(source)} is written in a way that is not understood`);
  return { start, end, quote };
}

function etcdOf(where: string, text: string): Container {
  const documents = parseAllDocuments(text, { keepSourceTokens: true });
  const [document, another] = 'empty' in documents ? [] : documents;
  if (document === undefined || another !== undefined) throw notUnderstood(where, 'it is not one YAML document');
  if (document.errors.length > 0) throw notUnderstood(where, `it is no valid YAML: ${document.errors[0]?.message.split('\n')[0]}`);
  if (!isMap(document.contents) || document.get('kind') !== 'Pod') throw notUnderstood(where, 'it is no manifest of a Pod');
  const containers = document.getIn(['spec', 'containers'], true);
  const etcds = isSeq(containers) ? containers.items.filter((item): item is YAMLMap => isMap(item) && isEtcd(item)) : [];
  const [etcd, second] = etcds;
  if (etcd === undefined || second !== undefined)
    throw notUnderstood(where, `${etcds.length} of its containers run etcd, and it must be one`);
  const lists = ['command', 'args'].flatMap((field) => {
    const list = etcd.get(field, true);
    return isSeq(list) ? [list] : [];
  });
  return {
    words: lists.flatMap((list) =>
      list.items.map((item) => {
        if (!isScalar(item) || typeof item.value !== 'string') throw notUnderstood(where, 'an argument of etcd is not plain text');
        return { scalar: item as Scalar<string>, list };
      }),
    ),
    variables: variablesOf(etcd),
  };
}

/** By the program: `etcd`, in whatever folder. A shell around it is not understood. */
function isEtcd(container: YAMLMap): boolean {
  const command = container.get('command', true);
  const [first] = isSeq(command) ? command.items : [];
  const program = isScalar(first) ? String(first.value) : undefined;
  return program === undefined ? container.get('name') === 'etcd' : program.split('/').pop() === 'etcd';
}

function variablesOf(container: YAMLMap): Container['variables'] {
  const env = container.get('env', true);
  if (!isSeq(env)) return [];
  return env.items.flatMap((item) => {
    if (!isMap(item)) return [];
    const [name, value] = [item.get('name'), item.get('value', true)];
    return typeof name === 'string' && isScalar(value) && typeof value.value === 'string' ? [{ name, value: value as Scalar<string> }] : [];
  });
}
