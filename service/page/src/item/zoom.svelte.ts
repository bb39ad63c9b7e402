/** Zoom and pan of a photo: by wheel, pinch, drag and keys (d3-zoom). */

import { select } from 'd3-selection';
import { zoom, zoomIdentity, type ZoomTransform } from 'd3-zoom';
import type { Point } from '../masks/raster';

export const STEP = 1.4;
const MOST_ZOOM = 64;
const PAN = 60;

export interface Size {
  width: number;
  height: number;
}

export class PhotoZoom {
  transform = $state.raw<ZoomTransform>(zoomIdentity);
  /** Of what shows the photo, CSS pixels. */
  box = $state<Size>({ width: 0, height: 0 });
  #size = $state.raw<Size>({ width: 1, height: 1 });
  #fitted = true;
  #canvas: HTMLCanvasElement | null = null;
  readonly #behaviour = zoom<HTMLCanvasElement, unknown>()
    .duration(120)
    .on('zoom', (event: { transform: ZoomTransform; sourceEvent: unknown }) => {
      this.transform = event.transform;
      if (event.sourceEvent) this.#fitted = false;
    });

  /** @param pans tells whether a press moves the photo; wheels always zoom. Without it, every press does. */
  constructor(pans?: (event: MouseEvent | TouchEvent) => boolean) {
    if (pans) this.#behaviour.filter((event: Event) => event.type === 'wheel' || pans(event as MouseEvent));
  }

  /** Listen to a canvas; to be called in an effect, which it keeps up to date. */
  attach(canvas: HTMLCanvasElement): () => void {
    this.#canvas = canvas;
    const selection = select(canvas).call(this.#behaviour).on('dblclick.zoom', null);
    $effect(() => {
      const { width, height } = this.box;
      if (!width || !height) return;
      const fit = this.#fit();
      const size = this.#size;
      this.#behaviour
        .extent([
          [0, 0],
          [width, height],
        ])
        .translateExtent([
          [-size.width / 2, -size.height / 2],
          [1.5 * size.width, 1.5 * size.height],
        ])
        .scaleExtent([Math.min(1, fit / 2), Math.max(MOST_ZOOM, fit)]);
      // A fitted photo stays fitted when the window changes.
      if (this.#fitted) this.showAll();
    });
    return () => {
      selection.on('.zoom', null);
      this.#canvas = null;
    };
  }

  /** Fit a photo of a size, in its own pixels. */
  show(size: Size): void {
    this.#fitted = true;
    this.#size = size;
  }

  /** Place of a pointer, photo pixels. */
  placeOf({ offsetX, offsetY }: { offsetX: number; offsetY: number }): Point {
    const [x, y] = this.transform.invert([offsetX, offsetY]);
    return { x, y };
  }

  /** A place as shares (0..1) of the photo, or null outside. */
  shareOf({ x, y }: Point): Point | null {
    const { width, height } = this.#size;
    return x >= 0 && y >= 0 && x < width && y < height ? { x: x / width, y: y / height } : null;
  }

  showAll(): void {
    if (!this.#canvas) return;
    const k = this.#fit();
    const { width, height } = this.box;
    const shown = zoomIdentity
      .translate((width - k * this.#size.width) / 2, (height - k * this.#size.height) / 2)
      .scale(k);
    select(this.#canvas).call(this.#behaviour.transform, shown);
    this.#fitted = true;
  }

  scaleBy(factor: number): void {
    if (this.#canvas) select(this.#canvas).call(this.#behaviour.scaleBy, factor);
    this.#fitted = false;
  }

  showPixels(): void {
    if (this.#canvas) select(this.#canvas).call(this.#behaviour.scaleTo, 1 / (window.devicePixelRatio || 1));
    this.#fitted = false;
  }

  /** Keys of the focused photo: arrows move, plus and minus zoom, 0 shows all, 1 shows single pixels. */
  keydown(event: KeyboardEvent): void {
    const pans: Record<string, [number, number]> = {
      ArrowLeft: [PAN, 0],
      ArrowRight: [-PAN, 0],
      ArrowUp: [0, PAN],
      ArrowDown: [0, -PAN],
    };
    const pan = pans[event.key];
    if (pan && this.#canvas) {
      const { k } = this.transform;
      select(this.#canvas).call(this.#behaviour.translateBy, pan[0] / k, pan[1] / k);
      this.#fitted = false;
    } else if (event.key === '+' || event.key === '=') this.scaleBy(STEP);
    else if (event.key === '-') this.scaleBy(1 / STEP);
    else if (event.key === '0') this.showAll();
    else if (event.key === '1') this.showPixels();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #fit(): number {
    return Math.min(this.box.width / this.#size.width, this.box.height / this.#size.height);
  }
}
