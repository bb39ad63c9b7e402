/** A mask as pictures: its classes in colour, its ignored pixels apart, since those are hatched. */

import type { Plane } from './decode';
import { BACKGROUND, IGNORE, PALETTE } from './palette';

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
    const colours = new ImageData(this.width, this.height);
    const ignored = new ImageData(this.width, this.height);
    const table = colourTable(highlight);
    const inks = new Uint32Array(colours.data.buffer);
    const holes = new Uint32Array(ignored.data.buffer);
    for (let pixel = 0; pixel < this.values.length; pixel++) {
      const value = this.values[pixel]!;
      if (value === IGNORE) holes[pixel] = 0xffffffff;
      else inks[pixel] = table[value]!;
    }
    this.colours.getContext('2d')!.putImageData(colours, 0, 0);
    this.ignored.getContext('2d')!.putImageData(ignored, 0, 0);
    return this;
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
