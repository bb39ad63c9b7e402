/** A mask as pictures: its classes in colour, its ignored pixels apart, since those are hatched. */

import { MOST_DRAWN, type Plane } from './decode';
import { BACKGROUND, IGNORE, PALETTE } from './palette';
import { type Box, isEmpty } from './raster';

const DIMMED = 48; // opacity (of 255) of the classes that are not the highlighted one
const MOST_ANEW = 1_000_000; // pixels that are drawn anew for each frame

/** Classes and ignored pixels, and where the pictures lie on the mask: x, y, width, height. */
export interface Pictures {
  colours: OffscreenCanvas;
  ignored: OffscreenCanvas;
  at: readonly [number, number, number, number];
}

export class Mask {
  readonly width: number;
  readonly height: number;
  readonly values: Uint8Array;
  /** Side in pixels of the squares whose middle the pictures of the whole show; 1 but for large masks. */
  readonly every: number;
  readonly whole: Pictures;
  #highlight: number | null = null;

  constructor({ width, height, values }: Plane) {
    this.width = width;
    this.height = height;
    this.values = values;
    this.every = Math.max(1, Math.ceil(Math.sqrt((width * height) / MOST_DRAWN)));
    const [across, down] = [Math.ceil(width / this.every), Math.ceil(height / this.every)];
    this.whole = {
      colours: new OffscreenCanvas(across, down),
      ignored: new OffscreenCanvas(across, down),
      at: [0, 0, across * this.every, down * this.every],
    };
  }

  /** Draw both pictures; a highlighted class stands out from the others. */
  render(highlight: number | null): this {
    this.#highlight = highlight;
    return this.renderPart({ left: 0, top: 0, right: this.width, bottom: this.height });
  }

  /** Draw a part of both pictures anew, after its values have changed. */
  renderPart({ left, top, right, bottom }: Box): this {
    const x = Math.floor(left / this.every);
    const y = Math.floor(top / this.every);
    const box = {
      left: x,
      top: y,
      right: Math.ceil(right / this.every),
      bottom: Math.ceil(bottom / this.every),
    };
    const { colours, ignored } = this.#inked(box, this.every);
    this.whole.colours.getContext('2d')!.putImageData(colours, x, y);
    this.whole.ignored.getContext('2d')!.putImageData(ignored, x, y);
    return this;
  }

  /** Both pictures of a part alone: a browser copies the whole of a large picture before it draws any of it. */
  part(box: Box): Pictures {
    const { colours, ignored } = this.#inked(box, 1);
    const [one, other] = [colours, ignored].map((image) => {
      const canvas = new OffscreenCanvas(image.width, image.height);
      canvas.getContext('2d')!.putImageData(image, 0, 0);
      return canvas;
    });
    return {
      colours: one!,
      ignored: other!,
      at: [box.left, box.top, box.right - box.left, box.bottom - box.top],
    };
  }

  /** Pictures that show what lies in a box: each pixel of it, unless both the mask and the box are large. */
  showing(box: Box): Pictures {
    const fits = !isEmpty(box) && (box.right - box.left) * (box.bottom - box.top) <= MOST_ANEW;
    return this.every > 1 && fits ? this.part(box) : this.whole;
  }

  /** Draw each pixel of a box, or with `every` the middle of each square; the box counts squares then. */
  #inked({ left, top, right, bottom }: Box, every: number) {
    const width = right - left;
    const colours = new ImageData(width, bottom - top);
    const ignored = new ImageData(width, bottom - top);
    const table = colourTable(this.#highlight);
    const inks = new Uint32Array(colours.data.buffer);
    const holes = new Uint32Array(ignored.data.buffer);
    const middle = every >> 1;
    for (let row = top, at = 0; row < bottom; row++) {
      const start = Math.min(this.height - 1, row * every + middle) * this.width;
      const end = start + this.width - 1;
      let pixel = start + left * every + middle;
      for (let column = left; column < right; column++, at++, pixel += every) {
        const value = this.values[pixel > end ? end : pixel]!;
        if (value === IGNORE) holes[at] = 0xffffffff;
        else inks[at] = table[value]!;
      }
    }
    return { colours, ignored };
  }

  /** Share (0..1) of the pixels by mask index. */
  shares(): Map<number, number> {
    const counts = new Uint32Array(256);
    for (const value of this.values) counts[value]!++;
    const shares = new Map<number, number>();
    counts.forEach((count, index) => {
      if (count) shares.set(index, count / this.values.length);
    });
    return shares;
  }

  /** Mask index at a place of the photo, both coordinates 0..1. */
  at(x: number, y: number): number {
    return valueAt(this, x, y);
  }
}

export function valueAt({ width, height, values }: Plane, x: number, y: number): number {
  const column = Math.min(width - 1, Math.floor(x * width));
  const row = Math.min(height - 1, Math.floor(y * height));
  return values[row * width + column]!;
}

/** RGBA by mask index, as the little-endian words of `ImageData`; background is clear. */
function colourTable(highlight: number | null): Uint32Array {
  return Uint32Array.from(PALETTE, ([red, green, blue], index) => {
    if (index === BACKGROUND) return 0;
    const alpha = highlight === null || highlight === index ? 255 : DIMMED;
    return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}
