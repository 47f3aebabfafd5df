/**
 * Who makes the data directory. etcd's own tool is what its developers test and what people trust, so it does what it can do; all else is done natively, and the
 * reason is told.
 */
import { WardenError } from '../../errors.ts';
import type { Builder, Content, EtcdMinor } from '../types.ts';
import { findTool, toolName } from './program.ts';

export interface BuilderWish {
  readonly builder: 'auto' | Builder;
  /** Path of the tool; undefined = by its name on the PATH. */
  readonly etcdutl: string | undefined;
  readonly minor: EtcdMinor;
  readonly content: Content;
  /** Revisions are to be raised. */
  readonly bump: boolean;
  /** Alarms are to be dropped. */
  readonly alarms: boolean;
}

export interface ChosenBuilder {
  readonly name: Builder;
  /** One sentence's worth, without a full stop. */
  readonly reason: string;
  /** Path of the tool. */
  readonly program: string | undefined;
}

/** @throws WardenError `refused` when etcdutl is asked for by name and cannot do it */
export async function chooseBuilder(wish: BuilderWish, signal: AbortSignal): Promise<ChosenBuilder> {
  const { builder, minor } = wish;
  if (builder === 'native') return native('it was asked for');
  const tool = toolName(minor);
  const cannot = whyToolCannot(wish);
  if (cannot !== undefined) return nativeUnlessNamed(builder, cannot, tool);
  if (builder === 'auto' && minor === '3.4') return native('etcdctl 3.4 leaves the members of the old cluster in the database');
  const found = await findTool(wish.etcdutl ?? tool, signal);
  if (typeof found === 'string') return nativeUnlessNamed(builder, found, tool);
  if (found.minor !== minor)
    return nativeUnlessNamed(builder, `${found.path} is of etcd ${found.version}, and the directory is for etcd ${minor}`, tool);
  return {
    name: 'etcdutl',
    reason: builder === 'auto' ? `${tool} ${found.version} can do all that is asked` : 'it was asked for',
    program: found.path,
  };
}

/** @returns undefined when etcd's own tool can do all of it */
export function whyToolCannot({ minor, content, bump, alarms }: Omit<BuilderWish, 'builder' | 'etcdutl'>): string | undefined {
  const tool = toolName(minor);
  if (content.revision !== undefined) return `${tool} cannot restore an older revision than the last`;
  if (content.only.length > 0 || content.without.length > 0) return `${tool} cannot leave keys out`;
  if (content.defragmented) return `${tool} copies the database as it is`;
  if (bump) return `${tool} raises revisions by a record with an empty key that stays for ever`;
  if (alarms) return `${tool} keeps the alarms that are armed in the snapshot`;
  return undefined;
}

function native(reason: string): ChosenBuilder {
  return { name: 'native', reason, program: undefined };
}

function nativeUnlessNamed(builder: 'auto' | Builder, reason: string, tool: string): ChosenBuilder {
  if (builder === 'auto') return native(reason);
  throw new WardenError('refused', `${tool} cannot build this: ${reason}`, { hint: '--builder native can; or leave --builder away' });
}
