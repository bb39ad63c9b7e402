/** Small pictures of items: few requests at a time, the newest wish first, kept while there is room. */

import { getPreview } from '../api/items';
import type { Item } from '../api/types';
import { stateOf } from '../item/layers.svelte';

export type PictureLayer = 'photo' | 'overlay';

const AT_ONCE = 6;
const KEPT = 800;
const SIDE = 320;
/** A card that is scrolled past within this time asks for nothing. */
const PATIENCE_MS = 80;

interface Wish {
  key: string;
  item: Item;
  layer: PictureLayer;
  give: (url: string) => void;
}

class Pictures {
  readonly #kept = new Map<string, string>();
  #wishes: Wish[] = [];
  #running = 0;

  /** Get the address of a picture; `give` is called once unless the returned function takes the wish back. */
  want(item: Item, layer: PictureLayer, give: (url: string) => void): () => void {
    const key = `${stateOf(item)}/${layer}`;
    const kept = this.#kept.get(key);
    if (kept) {
      this.#kept.delete(key);
      this.#kept.set(key, kept); // the latest used are last
      give(kept);
      return () => undefined;
    }
    const wish = { key, item, layer, give };
    const timer = setTimeout(() => {
      this.#wishes.push(wish);
      this.#work();
    }, PATIENCE_MS);
    return () => {
      clearTimeout(timer);
      this.#wishes = this.#wishes.filter((other) => other !== wish);
    };
  }

  #work(): void {
    while (this.#running < AT_ONCE && this.#wishes.length) {
      const wish = this.#wishes.pop()!;
      this.#running++;
      getPreview(wish.item.job, wish.item.id, wish.layer, SIDE)
        .then((blob) => {
          const url = URL.createObjectURL(blob);
          this.#keep(wish.key, url);
          wish.give(url);
        })
        .catch(() => wish.give(''))
        .finally(() => {
          this.#running--;
          this.#work();
        });
    }
  }

  #keep(key: string, url: string): void {
    this.#kept.set(key, url);
    if (this.#kept.size <= KEPT) return;
    const [oldest, address] = this.#kept.entries().next().value!;
    this.#kept.delete(oldest);
    URL.revokeObjectURL(address);
  }
}

export const pictures = new Pictures();
