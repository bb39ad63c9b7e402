/** A mask that is being mended: tools, classes, undo, and keeping it as a revision. */

import { explain, isAbort, isOvertaken } from '../api/problem';
import { putMask, type SentStroke, takeAlike } from '../api/revisions';
import type { Item, Revision } from '../api/types';
import { encodeMask } from '../masks/encode';
import { Mask } from '../masks/mask';
import { BACKGROUND } from '../masks/palette';
import {
  type Box,
  decodeRuns,
  isEmpty,
  line,
  NOTHING,
  type Point,
  polygon,
  region,
  type Span,
  union,
} from '../masks/raster';
import { History } from './history';

export type Tool = 'smart' | 'brush' | 'eraser' | 'polygon' | 'fill' | 'move';

/** What the person has chosen; it stays for the photos that follow. */
export class Palette {
  tool = $state<Tool>('smart');
  /** Width of brush and eraser, photo pixels. */
  size = $state(24);
  /** Mask index that is drawn. */
  value = $state(BACKGROUND);
  /** How unlike a smart stroke's region may be, 0..1. */
  reach = $state(0.4);
  /** Whether it takes only what hangs together with it. */
  touching = $state(true);
  /** Mask indices outside the photo's tags that were added. */
  added = $state.raw<readonly number[]>([]);
}

/** Smart strokes that are answered together, on the mask as it was before the first. */
interface Together {
  base: Uint8Array;
  box: Box;
  /** The strokes that the mask shows, by the place in the history. */
  at: Map<number, SentStroke[]>;
}

const SMART_WIDTH = 4; // CSS pixels

export class Editing {
  readonly mask: Mask;
  readonly #history: History;
  /** Rises whenever something has to be drawn. */
  drawn = $state(0);
  undoable = $state(0);
  redoable = $state(0);
  /** Whether there are changes that are not kept. */
  dirty = $state(false);
  thinking = $state(false);
  keeping = $state(false);
  problem = $state('');
  /** Another revision became current meanwhile. */
  overtaken = $state(false);
  /** Points of the line or polygon that is being drawn, photo pixels. */
  trail = $state.raw<readonly Point[]>([]);
  #damage: Box = NOTHING;
  #kept = 0;
  #line: { value: number; last: Point } | null = null;
  #together: Together | null = null;
  #stop = new AbortController();

  /** @param mask the item's current one; it stays as it is. */
  constructor(
    readonly item: Item,
    mask: Mask,
    readonly palette: Palette,
  ) {
    this.mask = new Mask({ width: mask.width, height: mask.height, values: mask.values.slice() }).render(
      null,
    );
    this.#history = new History(this.mask);
  }

  close(): void {
    this.#stop.abort();
  }

  /** Take what changed since the last call, for drawing. */
  takeDamage(): Box {
    const box = this.#damage;
    this.#damage = NOTHING;
    return box;
  }

  /** Press at a place; `erase` turns the pen round, `all` fills every region of the value that is hit. */
  press(at: Point, { erase = false, all = false } = {}): void {
    if (this.keeping) return;
    const { tool } = this.palette;
    if (tool === 'fill') this.fill(at, all);
    else if (tool === 'polygon') this.trail = [...this.trail, at];
    else if (tool === 'smart') this.trail = [at];
    else if (tool === 'brush' || tool === 'eraser') {
      this.#history.begin();
      this.#line = { value: erase || tool === 'eraser' ? BACKGROUND : this.palette.value, last: at };
      this.#draw(at);
    }
  }

  move(at: Point): void {
    if (this.#line) this.#draw(at);
    else if (this.palette.tool === 'smart' && this.trail.length) this.trail = [...this.trail, at];
  }

  /** Let go; `scale` is CSS pixels a photo pixel. */
  release(scale: number): void {
    if (this.#line) {
      this.#line = null;
      this.#commit();
      this.#together = null;
    } else if (this.palette.tool === 'smart' && this.trail.length) {
      const points = this.trail.map(({ x, y }): [number, number] => [x, y]);
      this.trail = [];
      void this.#smart({ value: this.palette.value, width: Math.max(1, SMART_WIDTH / scale), points });
    }
  }

  /** Give up what is being drawn. */
  abandon(): void {
    this.trail = [];
    if (!this.#line) return;
    this.#line = null;
    this.#repair(this.#history.abandon());
  }

  /** Take the last corner of the polygon back. */
  dropCorner(): void {
    this.trail = this.trail.slice(0, -1);
  }

  closePolygon(): void {
    const corners = this.trail;
    this.trail = [];
    if (corners.length < 3) return;
    this.#change((span) => polygon(this.mask, corners, span));
  }

  /** Give the region that is hit, or all regions of its value, the class that is chosen. */
  fill(at: Point, all: boolean): void {
    const { width, height, values } = this.mask;
    const [column, row] = [Math.floor(at.x), Math.floor(at.y)];
    if (column < 0 || row < 0 || column >= width || row >= height) return;
    const hit = values[row * width + column]!;
    if (hit === this.palette.value) return;
    if (!all) {
      this.#change((span) => region(this.mask, column, row, span));
      return;
    }
    this.#change((span) => {
      let box = NOTHING;
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const left = x;
          while (x < width && values[y * width + x] === hit) x++;
          if (x === left) continue;
          span(y, left, x);
          box = union(box, { left, top: y, right: x, bottom: y + 1 });
        }
      }
      return box;
    });
  }

  undo(): void {
    if (this.keeping) return; // which state is kept is told by its place
    this.#stop.abort();
    if (!this.#line) this.#repair(this.#history.undo());
  }

  redo(): void {
    if (!this.#line) this.#repair(this.#history.redo());
  }

  /** Take up a tool; what the one before has begun is given up. */
  choose(tool: Tool): void {
    this.abandon();
    this.settle();
    this.palette.tool = tool;
  }

  /** Let further smart strokes be answered apart from those so far. */
  settle(): void {
    this.#together = null;
  }

  /**
   * Keep the mask as the item's current revision.
   *
   * @param expected the revision that must still be current.
   * @returns it, or null where that failed: `problem` or `overtaken` say why, and nothing is lost.
   */
  async keep(expected: number, accept: boolean): Promise<Revision | null> {
    if (this.keeping) return null;
    this.keeping = true;
    this.problem = '';
    const place = this.#history.place;
    try {
      const made = await putMask(this.item, await encodeMask(this.mask), { how: 'brush', expected, accept });
      this.#kept = place;
      this.overtaken = false;
      this.#count();
      return made;
    } catch (error) {
      if (isOvertaken(error)) this.overtaken = true;
      else this.problem = explain(error);
      return null;
    } finally {
      this.keeping = false;
    }
  }

  async #smart(stroke: SentStroke): Promise<void> {
    const { width, values } = this.mask;
    const place = this.#history.place;
    if (!this.#together?.at.has(place)) {
      this.#together = { base: values.slice(), box: NOTHING, at: new Map([[place, []]]) };
    }
    const together = this.#together;
    const strokes = [...together.at.get(place)!, stroke];
    this.#stop.abort();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.thinking = true;
    this.problem = '';
    try {
      const { reach, touching } = this.palette;
      const regions = await takeAlike(this.item.job, this.item.id, { strokes, reach, touching }, signal);
      if (this.#history.place !== place || this.#line || this.keeping) return; // the mask is another by now
      const wanted = together.base.slice();
      let box = NOTHING;
      for (const { value, x, y, size, counts } of regions) {
        const [height = 0, across = 0] = size;
        const inside = decodeRuns(counts, size);
        for (let row = 0; row < height; row++) {
          const start = (y + row) * width + x;
          for (let column = 0; column < across; column++) {
            if (inside[row * across + column]) wanted[start + column] = value;
          }
        }
        box = union(box, { left: x, top: y, right: x + across, bottom: y + height });
      }
      const both = union(together.box, box);
      this.#history.begin();
      if (!isEmpty(both)) this.#become(wanted, both);
      this.#commit();
      together.box = both;
      for (const known of together.at.keys()) if (known > place) together.at.delete(known);
      together.at.set(this.#history.place, strokes);
    } catch (error) {
      if (!isAbort(error)) this.problem = explain(error);
    } finally {
      if (this.#stop.signal === signal) this.thinking = false;
    }
  }

  /** Write what differs in a box, inside a change. */
  #become(wanted: Uint8Array, { left, top, right, bottom }: Box): void {
    const { width, values } = this.mask;
    for (let row = top; row < bottom; row++) {
      let [first, last] = [row * width + left, row * width + right];
      while (first < last && values[first] === wanted[first]) first++;
      while (last > first && values[last - 1] === wanted[last - 1]) last--;
      if (first === last) continue;
      this.#history.keep(row, first - row * width, last - row * width);
      values.set(wanted.subarray(first, last), first);
    }
    this.#repair({ left, top, right, bottom });
  }

  #draw(to: Point): void {
    const { value, last } = this.#line!;
    this.#repair(line(this.mask, last, to, this.palette.size, this.#writer(value)));
    this.#line!.last = to;
  }

  #change(shape: (span: Span) => Box): void {
    this.#history.begin();
    this.#repair(shape(this.#writer(this.palette.value)));
    this.#commit();
    this.#together = null;
  }

  #writer(value: number): Span {
    const { width, values } = this.mask;
    return (row, left, right) => {
      this.#history.keep(row, left, right);
      values.fill(value, row * width + left, row * width + right);
    };
  }

  #commit(): void {
    // A change after an undo takes the place of what was kept.
    if (this.#history.commit() && this.#history.place <= this.#kept) this.#kept = -1;
    this.#count();
  }

  #repair(box: Box): void {
    if (!isEmpty(box)) {
      this.mask.renderPart(box);
      this.#damage = union(this.#damage, box);
    }
    this.#count();
    this.drawn++;
  }

  #count(): void {
    this.undoable = this.#history.undoable;
    this.redoable = this.#history.redoable;
    this.dirty = this.#history.place !== this.#kept;
  }
}
