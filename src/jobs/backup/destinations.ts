/** The stores a backup is meant for, and what has become of each. One that fails early is a result of its own; the others go on. */
import type { Catalog } from '../../catalog/types.ts';
import { asError, errorDetails, WardenError } from '../../errors.ts';
import type { Store } from '../../store/types.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { StoreResult } from '../types.ts';

export class Destinations {
  readonly #failures = new Map<string, Error>();
  readonly #all: readonly Store[];
  readonly #logger: Logger;
  #ready: readonly Store[];

  constructor(stores: readonly Store[], logger: Logger) {
    this.#all = stores;
    this.#ready = stores;
    this.#logger = logger;
  }

  /** Stores that have not failed so far, in the order of the configuration. */
  get ready(): readonly Store[] {
    return this.#ready;
  }

  /** Leaves out stores that could not even be listed. @throws WardenError when none is left */
  dropUnreachable(catalog: Catalog): void {
    for (const { store, error } of catalog.unreachable) this.#drop(store, error);
    this.#requireOne();
  }

  /** Leaves out stores that could not take `neededBytes`. @throws WardenError when none is left */
  async check(neededBytes: number, signal: AbortSignal): Promise<void> {
    for (const store of this.#ready) {
      try {
        await store.check(neededBytes, { signal });
      } catch (error) {
        signal.throwIfAborted();
        this.#drop(store.name, asError(error));
      }
    }
    this.#requireOne();
  }

  /** Those that were left out, as results. */
  failed(): StoreResult[] {
    return [...this.#failures].map(([store, error]) => ({ store, outcome: 'failed', error: errorDetails(error) }));
  }

  /** All results in the order of the configuration. @throws WardenError when no store has the backup */
  results(results: readonly StoreResult[]): StoreResult[] {
    const all = [...results, ...this.failed()];
    if (!all.some((result) => result.outcome === 'stored')) throw noStoreHasIt(all);
    const place = (name: string): number => this.#all.findIndex((store) => store.name === name);
    return all.sort((a, b) => place(a.store) - place(b.store));
  }

  #drop(name: string, error: Error): void {
    this.#failures.set(name, error);
    this.#ready = this.#ready.filter((store) => store.name !== name);
    this.#logger.error({ store: name, err: error }, 'the store cannot take a backup');
  }

  #requireOne(): void {
    if (this.#ready.length === 0) throw noStoreHasIt(this.failed());
  }
}

function noStoreHasIt(results: readonly StoreResult[]): WardenError {
  const first = results.find((result) => result.error !== undefined)?.error;
  const sentence = results.map((result) => `${result.store}: ${result.error?.message ?? 'failed'}`).join('; ');
  return new WardenError(first?.code ?? 'failed', `no store took the backup: ${sentence}`, {
    hint: first?.hint ?? 'nothing of this run is visible; the next run tries again',
  });
}
