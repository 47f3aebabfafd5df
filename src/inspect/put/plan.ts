/** Compares keys of a backup with a live cluster and tells what putting them back would change. Writes nothing. */
import { WardenError } from '../../errors.ts';
import type { KeysClient, LiveKey } from '../../etcd/keys.ts';
import { keyText } from '../../etcd/keys.ts';
import { liveAt } from '../state.ts';
import type { KeyDirectory, KeyEntry, KeyRange, KeyRevision } from '../types.ts';
import { changeOf } from './compare.ts';
import { isKubernetesKey, isSealed } from './kubernetes.ts';
import type { Change, PutPlan } from './types.ts';

/** Somebody has to look at them, and all of them are held in memory. Whoever has more to return wants a restore, or narrower prefixes. */
const MAX_CHANGES = 100_000;
/** Keys compared at a time; their values are in memory on both sides. */
const KEYS_AT_A_TIME = 16;

export interface PlanRequest {
  readonly directory: KeyDirectory;
  readonly live: Pick<KeysClient, 'read' | 'leaseLives'>;
  readonly range: KeyRange;
  /** The revision whose state is put back. */
  readonly at: bigint;
  readonly withLease: boolean;
  /** Keys that never go back: our own in etcd. */
  readonly own?: ((key: Buffer) => boolean) | undefined;
  /** Default MAX_CHANGES. */
  readonly maxChanges?: number | undefined;
  /** One line that tells a person what changes; must be safe for a terminal. Views, valid during the call. */
  readonly preview: (key: Buffer, value: Buffer, live: Buffer | undefined) => string;
  readonly onProgress?: ((compared: number) => void) | undefined;
  readonly signal: AbortSignal;
}

/** @throws WardenError `refused` when more than `maxChanges` keys would change; what reading the backup or the cluster throws */
export async function planPut(request: PlanRequest): Promise<PutPlan> {
  const planner = new Planner(request);
  for await (const entry of request.directory.entries(request.range, request.signal)) {
    const revision = liveAt(entry, request.at);
    if (revision === undefined) continue;
    if (request.own?.(entry.key) === true) planner.passOver();
    else await planner.add(entry, revision);
  }
  return planner.finish();
}

interface Gathered {
  readonly entry: KeyEntry;
  readonly revision: KeyRevision;
  readonly value: Buffer;
}

class Planner {
  readonly #request: PlanRequest;
  readonly #leases = new Map<bigint, boolean>();
  readonly #changes: Change[] = [];
  #gathered: Gathered[] = [];
  #compared = 0;
  #same = 0;
  #kubernetes = 0;
  #encrypted = 0;
  #keptOut = 0;
  #gone = 0;
  #own = 0;

  constructor(request: PlanRequest) {
    this.#request = request;
  }

  async add(entry: KeyEntry, revision: KeyRevision): Promise<void> {
    const { directory, signal } = this.#request;
    // A view that is valid until the next read.
    const value = Buffer.from(await directory.value(entry, revision, signal));
    this.#gathered.push({ entry, revision, value });
    if (this.#gathered.length >= KEYS_AT_A_TIME) await this.#compare();
  }

  passOver(): void {
    this.#own++;
  }

  async finish(): Promise<PutPlan> {
    await this.#compare();
    return {
      changes: this.#changes,
      same: this.#same,
      kubernetes: { keys: this.#kubernetes, encrypted: this.#encrypted },
      keptOutLeases: this.#keptOut,
      goneLeases: this.#gone,
      own: this.#own,
    };
  }

  async #compare(): Promise<void> {
    const gathered = this.#gathered;
    this.#gathered = [];
    if (gathered.length === 0) return;
    const { live, signal, onProgress } = this.#request;
    const found = await live.read(
      gathered.map(({ entry }) => entry.key),
      signal,
    );
    for (const one of gathered) await this.#judge(one, found.get(keyText(one.entry.key)));
    this.#compared += gathered.length;
    onProgress?.(this.#compared);
  }

  async #judge({ entry, revision, value }: Gathered, live: LiveKey | undefined): Promise<void> {
    const lives = await this.#leaseLives(revision.lease);
    const lease = lives ? revision.lease : 0n;
    const change = changeOf({ entry, revision, value, live, lease }, '');
    if (change === undefined) {
      this.#same++;
      return;
    }
    const { maxChanges = MAX_CHANGES } = this.#request;
    if (this.#changes.length >= maxChanges) {
      throw new WardenError('refused', `more than ${maxChanges} keys would change`, {
        hint: 'use longer prefixes one after the other, or restore the whole backup; nothing was written',
      });
    }
    if (revision.lease !== 0n && lease === 0n) {
      if (this.#request.withLease) this.#gone++;
      else this.#keptOut++;
    }
    if (isKubernetesKey(entry.key, value)) this.#kubernetes++;
    if (isSealed(value)) this.#encrypted++;
    this.#changes.push({ ...change, preview: this.#request.preview(entry.key, value, live?.value) });
  }

  /** Each lease is asked for once. */
  async #leaseLives(lease: bigint): Promise<boolean> {
    if (lease === 0n || !this.#request.withLease) return false;
    const known = this.#leases.get(lease);
    if (known !== undefined) return known;
    const lives = await this.#request.live.leaseLives(lease, this.#request.signal);
    this.#leases.set(lease, lives);
    return lives;
  }
}
