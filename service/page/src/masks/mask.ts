/** A mask as pictures: its classes in colour, its ignored pixels apart, since those are hatched. */

import type { Plane } from './decode';
import { BACKGROUND, IGNORE, PALETTE } from './palette';
import type { Box } from './raster';

const DIMMED = 48; // opacity (of 255) of the classes that are not the highlighted one

export class Mask {
  readonly width: number;
  readonly height: number;
  readonly values: Uint8Array;
  readonly colours: OffscreenCanvas;
  readonly ignored: OffscreenCanvas;

  constructor({ width, height, values }: Plane) {
    this.width = width;
    this.height = height;
    this.values = values;
    this.colours = new OffscreenCanvas(width, height);
    this.ignored = new OffscreenCanvas(width, height);
  }

  /** Draw both pictures; a highlighted class stands out from the others. */
  render(highlight: number | null): this {
    return this.renderPart({ left: 0, top: 0, right: this.width, bottom: this.height }, highlight);
  }

  /** Draw a part of both pictures anew, after its values have changed. */
  renderPart(box: Box, highlight: number | null = null): this {
    const { colours, ignored } = this.#inked(box, highlight);
    this.colours.getContext('2d')!.putImageData(colours, box.left, box.top);
    this.ignored.getContext('2d')!.putImageData(ignored, box.left, box.top);
    return this;
  }

  /** Both pictures of a part alone: a browser copies the whole of a large picture before it draws any of it. */
  part(box: Box): { colours: OffscreenCanvas; ignored: OffscreenCanvas } {
    const { colours, ignored } = this.#inked(box, null);
    const [one, other] = [colours, ignored].map((image) => {
      const canvas = new OffscreenCanvas(image.width, image.height);
      canvas.getContext('2d')!.putImageData(image, 0, 0);
      return canvas;
    });
    return { colours: one!, ignored: other! };
  }

  #inked({ left, top, right, bottom }: Box, highlight: number | null) {
    const width = right - left;
    const colours = new ImageData(width, bottom - top);
    const ignored = new ImageData(width, bottom - top);
    const table = colourTable(highlight);
    const inks = new Uint32Array(colours.data.buffer);
    const holes = new Uint32Array(ignored.data.buffer);
    for (let row = top, at = 0; row < bottom; row++) {
      const end = row * this.width + right;
      for (let pixel = row * this.width + left; pixel < end; pixel++, at++) {
        const value = this.values[pixel]!;
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
