/** Undo and redo of changes to a mask: the tiles that a change touched, as they were. */

import type { Plane } from '../masks/decode';
import { type Box, NOTHING, union } from '../masks/raster';

const TILE = 256;
/** Bytes of tiles kept; the oldest changes are forgotten beyond. */
const MOST_BYTES = 192 * 1024 * 1024;

/** One change. Its tiles hold what the mask does not show: the state before, or after it was undone the one behind. */
interface Change {
  tiles: Map<number, Uint8Array>;
  bytes: number;
}

export class History {
  #done: Change[] = [];
  #undone: Change[] = [];
  #open: Change | null = null;
  #forgotten = 0;
  readonly #across: number;

  constructor(readonly mask: Plane) {
    this.#across = Math.ceil(mask.width / TILE);
  }

  /** How many changes lead here from the first state, undone ones not counted. */
  get place(): number {
    return this.#forgotten + this.#done.length;
  }

  get undoable(): number {
    return this.#done.length;
  }

  get redoable(): number {
    return this.#undone.length;
  }

  begin(): void {
    this.#open = { tiles: new Map(), bytes: 0 };
  }

  /** Keep what lies in a span of a row before it is written; to be called inside a change. */
  keep(row: number, left: number, right: number): void {
    const change = this.#open!;
    const line = Math.floor(row / TILE) * this.#across;
    for (let tile = Math.floor(left / TILE); tile <= Math.floor((right - 1) / TILE); tile++) {
      if (change.tiles.has(line + tile)) continue;
      const pixels = this.#read(line + tile);
      change.tiles.set(line + tile, pixels);
      change.bytes += pixels.length;
    }
  }

  /** End a change; returns whether it touched anything. */
  commit(): boolean {
    const change = this.#open;
    this.#open = null;
    if (!change?.tiles.size) return false;
    this.#done.push(change);
    this.#undone = [];
    let bytes = this.#done.reduce((sum, kept) => sum + kept.bytes, 0);
    while (bytes > MOST_BYTES && this.#done.length > 1) {
      bytes -= this.#done.shift()!.bytes;
      this.#forgotten++;
    }
    return true;
  }

  /** Take back what was done since `begin`; returns what has to be drawn anew. */
  abandon(): Box {
    const change = this.#open;
    this.#open = null;
    return change ? this.#swap(change) : NOTHING;
  }

  undo(): Box {
    return this.#step(this.#done, this.#undone);
  }

  redo(): Box {
    return this.#step(this.#undone, this.#done);
  }

  #step(from: Change[], to: Change[]): Box {
    const change = from.pop();
    if (!change) return NOTHING;
    to.push(change);
    return this.#swap(change);
  }

  #swap(change: Change): Box {
    let box = NOTHING;
    for (const [tile, pixels] of change.tiles) {
      change.tiles.set(tile, this.#read(tile));
      box = union(box, this.#write(tile, pixels));
    }
    return box;
  }

  #boxOf(tile: number): Box {
    const [left, top] = [(tile % this.#across) * TILE, Math.floor(tile / this.#across) * TILE];
    const { width, height } = this.mask;
    return { left, top, right: Math.min(width, left + TILE), bottom: Math.min(height, top + TILE) };
  }

  #read(tile: number): Uint8Array {
    const { left, top, right, bottom } = this.#boxOf(tile);
    const pixels = new Uint8Array((right - left) * (bottom - top));
    for (let row = top; row < bottom; row++) {
      const start = row * this.mask.width;
      pixels.set(this.mask.values.subarray(start + left, start + right), (row - top) * (right - left));
    }
    return pixels;
  }

  #write(tile: number, pixels: Uint8Array): Box {
    const box = this.#boxOf(tile);
    const width = box.right - box.left;
    for (let row = box.top; row < box.bottom; row++) {
      const at = (row - box.top) * width;
      this.mask.values.set(pixels.subarray(at, at + width), row * this.mask.width + box.left);
    }
    return box;
  }
}
