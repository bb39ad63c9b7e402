/** The class activation maps of one photo, and the mask that thresholds alone make of them. */

import type { Thresholds } from '../api/types';
import type { Plane } from './decode';
import { Mask, valueAt } from './mask';
import { BACKGROUND, HEAT, IGNORE } from './palette';

export interface Cam {
  name: string;
  index: number;
  plane: Plane;
}

export class CamStack {
  readonly width: number;
  readonly height: number;
  /** Highest score at each pixel, 255 for score 1, and the mask index of its class. */
  readonly #top: Uint8Array;
  readonly #winner: Uint8Array;

  /** @param cams at least one, all of one size, in the order of the item's tags. */
  constructor(readonly cams: readonly Cam[]) {
    const first = cams[0]!;
    ({ width: this.width, height: this.height } = first.plane);
    this.#top = first.plane.values.slice();
    this.#winner = new Uint8Array(this.#top.length).fill(first.index);
    for (const { index, plane } of cams.slice(1)) {
      for (let pixel = 0; pixel < this.#top.length; pixel++) {
        const score = plane.values[pixel]!;
        if (score > this.#top[pixel]!) {
          this.#top[pixel] = score;
          this.#winner[pixel] = index;
        }
      }
    }
  }

  /**
   * The pseudo mask before the CRF, by the rule of `model/method/pseudo_mask.py`.
   *
   * With an ignored band a pixel is background up to `low`, open up to `high`, and its best class above;
   * without one it is background up to `plain`.
   */
  mask(thresholds: Thresholds, ignoreBand: boolean): Mask {
    const kind = Uint8Array.from({ length: 256 }, (_, level) => {
      const score = level / 255;
      if (score <= (ignoreBand ? thresholds.low : thresholds.plain)) return BACKGROUND;
      return ignoreBand && score <= thresholds.high ? IGNORE : 1;
    });
    const values = new Uint8Array(this.#top.length);
    for (let pixel = 0; pixel < values.length; pixel++) {
      const found = kind[this.#top[pixel]!]!;
      values[pixel] = found === 1 ? this.#winner[pixel]! : found;
    }
    return new Mask({ width: this.width, height: this.height, values });
  }

  /** How the highest scores spread: shares (0..1) of the pixels in equal steps of the score. */
  histogram(bins: number): number[] {
    const counts = new Array<number>(bins).fill(0);
    for (const score of this.#top) counts[Math.min(bins - 1, Math.floor((score / 256) * bins))]! += 1;
    return counts.map((count) => count / this.#top.length);
  }

  /** One map as a picture. */
  heat(position: number): OffscreenCanvas {
    const { values } = this.cams[position]!.plane;
    const canvas = new OffscreenCanvas(this.width, this.height);
    const image = new ImageData(this.width, this.height);
    for (let pixel = 0; pixel < values.length; pixel++) {
      const [red, green, blue] = HEAT[values[pixel]!]!;
      image.data.set([red, green, blue, 255], 4 * pixel);
    }
    canvas.getContext('2d')!.putImageData(image, 0, 0);
    return canvas;
  }

  /** Scores by class at a place of the photo, both coordinates 0..1. */
  scores(x: number, y: number): { name: string; index: number; score: number }[] {
    return this.cams.map(({ name, index, plane }) => ({ name, index, score: valueAt(plane, x, y) / 255 }));
  }
}
