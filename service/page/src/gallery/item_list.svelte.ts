/** The items that a query finds, fetched a page at a time as they are looked at. */

import { decide, findItems, nextItems } from '../api/items';
import type { Decision, Item, ItemPage } from '../api/types';

const PAGE = 200;

/** Fetches a page of items, the first one or the one behind a cursor. */
type Source = (cursor: string | null, signal: AbortSignal) => Promise<ItemPage>;

/** The items that a query of the API finds. */
export function found(job: string, query: string): Source {
  return (cursor, signal) => {
    const page = new URLSearchParams(query);
    page.set('limit', String(PAGE));
    if (cursor) page.set('cursor', cursor);
    return findItems(job, page, signal);
  };
}

/** The undecided items that teach most; those behind them are told once these are dealt with. */
export function teaching(job: string): Source {
  return async (_, signal) => {
    const { items } = await nextItems(job, PAGE, signal);
    return { items, total: items.length, next: null };
  };
}

export class ItemList {
  items = $state.raw<readonly Item[]>([]);
  total = $state(0);
  loaded = $state(false);
  /** Rises when labels have changed that are stored. */
  changes = $state(0);
  #next: string | null = null;
  #fetching: Promise<void> | null = null;
  #wanted = 0;
  #refreshing: Promise<void> = Promise.resolve();
  /** Items as they were changed here since what is shown was asked for: an answer on its way does not know of it. */
  readonly #newer = new Map<string, Item>();
  /** By item, the verdict that is stored or will be, once all before it are: an older one must not arrive last. */
  readonly #verdicts = new Map<string, Promise<Decision | null>>();
  readonly #stop = new AbortController();

  constructor(
    readonly job: string,
    readonly source: Source,
  ) {}

  close(): void {
    this.#stop.abort();
  }

  /** Have the item at a place, and all before it, fetched. */
  ensure(index: number): Promise<void> {
    this.#wanted = Math.max(this.#wanted, index + 1);
    this.#fetching ??= this.#fetch().finally(() => (this.#fetching = null));
    return this.#fetching;
  }

  /** Fetch what is shown again, as the job goes on; one after the other, so that no older answer comes last. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.catch(() => undefined).then(() => this.#refetch());
    return this.#refreshing;
  }

  async #refetch(): Promise<void> {
    await this.#fetching;
    for (const id of this.#newer.keys()) if (!this.#verdicts.has(id)) this.#newer.delete(id);
    const wanted = Math.max(PAGE, this.items.length);
    const items: Item[] = [];
    let next: string | null = null;
    do {
      const page: ItemPage = await this.source(next, this.#stop.signal);
      items.push(...page.items);
      this.total = page.total;
      next = page.next;
    } while (next && items.length < wanted);
    this.items = items.map((item) => this.#newer.get(item.id) ?? item);
    this.#next = next;
    this.loaded = true;
    this.changes++;
  }

  indexOf(item: string): number {
    return this.items.findIndex((other) => other.id === item);
  }

  /** Show an item as it is stored now. */
  replace(changed: Item): void {
    this.#show(changed);
    this.changes++;
  }

  /** Store a verdict, after those before it; shown at once, taken back if the service refuses it. */
  async decide(item: Item, decision: Decision | null): Promise<void> {
    const before = this.#verdicts.get(item.id) ?? Promise.resolve(item.decision);
    this.#show({ ...item, decision });
    const storing = before.then(() => decide(this.job, item.id, decision));
    const verdict = storing.then(
      () => decision,
      () => before,
    );
    this.#verdicts.set(item.id, verdict);
    const isLast = () => this.#verdicts.get(item.id) === verdict;
    try {
      const stored = await storing;
      if (isLast()) this.replace(stored);
    } catch (error) {
      if (isLast()) this.#show({ ...item, decision: await before });
      throw error;
    } finally {
      if (isLast()) this.#verdicts.delete(item.id);
    }
  }

  #show(changed: Item): void {
    this.#newer.set(changed.id, changed);
    this.items = this.items.map((item) => (item.id === changed.id ? changed : item));
  }

  async #fetch(): Promise<void> {
    while (this.items.length < this.#wanted && (!this.loaded || this.#next)) {
      const page = await this.source(this.#next, this.#stop.signal);
      this.items = [...this.items, ...page.items];
      this.total = page.total;
      this.#next = page.next;
      this.loaded = true;
    }
  }
}
