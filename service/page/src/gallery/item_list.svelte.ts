/** The items that a query finds, fetched a page at a time as they are looked at. */

import { decide, findItems } from '../api/items';
import type { Decision, Item } from '../api/types';

const PAGE = 200;

export class ItemList {
  items = $state.raw<readonly Item[]>([]);
  total = $state(0);
  loaded = $state(false);
  #next: string | null = null;
  #fetching: Promise<void> | null = null;
  #wanted = 0;
  readonly #stop = new AbortController();

  constructor(
    readonly job: string,
    readonly query: URLSearchParams,
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

  /** Fetch what is shown again, as the job goes on. */
  async refresh(): Promise<void> {
    await this.#fetching;
    const wanted = Math.max(PAGE, this.items.length);
    const items: Item[] = [];
    let next: string | null = null;
    do {
      const page = await this.#page(next);
      items.push(...page.items);
      this.total = page.total;
      next = page.next;
    } while (next && items.length < wanted);
    this.items = items;
    this.#next = next;
    this.loaded = true;
  }

  indexOf(item: string): number {
    return this.items.findIndex((other) => other.id === item);
  }

  replace(changed: Item): void {
    this.items = this.items.map((item) => (item.id === changed.id ? changed : item));
  }

  /** Store a verdict; shown at once, taken back if the service refuses it. */
  async decide(item: Item, decision: Decision | null): Promise<void> {
    this.replace({ ...item, decision });
    try {
      this.replace(await decide(this.job, item.id, decision));
    } catch (error) {
      this.replace(item);
      throw error;
    }
  }

  async #fetch(): Promise<void> {
    while (this.items.length < this.#wanted && (!this.loaded || this.#next)) {
      const page = await this.#page(this.#next);
      this.items = [...this.items, ...page.items];
      this.total = page.total;
      this.#next = page.next;
      this.loaded = true;
    }
  }

  #page(cursor: string | null) {
    const query = new URLSearchParams(this.query);
    query.set('limit', String(PAGE));
    if (cursor) query.set('cursor', cursor);
    return findItems(this.job, query, this.#stop.signal);
  }
}
