/** Drawing the layers of an item at the present zoom. */

import type { ZoomTransform } from 'd3-zoom';
import type { Mask } from '../masks/mask';
import type { Box } from '../masks/raster';

/** What is drawn on one side of the wipe. */
export interface Scene {
  mask: Mask | null;
  heat: CanvasImageSource | null;
  hatched: boolean;
  /** Of everything over the photo, 0..1. */
  opacity: number;
}

export interface View {
  photo: ImageBitmap;
  /** Size of the photo in its own pixels: the unit of the zoom. */
  size: { width: number; height: number };
  /** Screen pixels (CSS) = photo pixels * k + (x, y). */
  zoom: ZoomTransform;
}

const HATCH_PERIOD = 8;

/** Draw the view on a canvas; with `left`, that scene is drawn left of `wipe` (CSS pixels). */
export function paint(
  canvas: HTMLCanvasElement,
  view: View,
  right: Scene,
  left: Scene | null,
  wipe: number,
): void {
  const made = fitted(canvas);
  if (!made) return;
  const { context, ratio } = made;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const cut = left ? Math.round(wipe * ratio) : 0;
  if (left) paintScene(context, view, left, ratio, 0, cut);
  paintScene(context, view, right, ratio, cut, canvas.width);
}

/** Make a canvas as large as it is shown; returns its context and device pixels a CSS pixel, or null if it is hidden. */
export function fitted(
  canvas: HTMLCanvasElement,
): { context: CanvasRenderingContext2D; ratio: number } | null {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (!width || !height) return null;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d')!;
  context.resetTransform();
  return { context, ratio };
}

function paintScene(
  context: CanvasRenderingContext2D,
  view: View,
  scene: Scene,
  ratio: number,
  from: number,
  to: number,
): void {
  if (to <= from) return;
  const { width, height } = view.size;
  const scale = view.zoom.k * ratio;
  const at = [0, 0, width, height] as const;
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, context.canvas.height);
  context.clip();
  context.setTransform(scale, 0, 0, scale, view.zoom.x * ratio, view.zoom.y * ratio);
  context.imageSmoothingQuality = 'high';
  // Enlarged pixels are shown as the squares that they are.
  context.imageSmoothingEnabled = scale < 2;
  // Under heat the photo is grey, so that its colours are not taken for scores.
  if (scene.heat) context.filter = 'grayscale(1)';
  context.drawImage(view.photo, ...at);
  context.filter = 'none';
  context.globalAlpha = scene.opacity;
  if (scene.heat) {
    context.imageSmoothingEnabled = true;
    context.drawImage(scene.heat, ...at);
  }
  if (scene.mask) {
    context.imageSmoothingEnabled = scale < 1;
    const { colours, ignored, at: own } = scene.mask.showing(seen(context.canvas, view, ratio, scene.mask));
    const [across, down] = [width / scene.mask.width, height / scene.mask.height];
    const place = [own[0] * across, own[1] * down, own[2] * across, own[3] * down] as const;
    context.drawImage(colours, ...place);
    if (scene.hatched) {
      const all = { left: 0, top: 0, width: context.canvas.width, height: context.canvas.height };
      hatch(context, ignored, place, all, scene.opacity, ratio);
    }
  }
  context.restore();
}

/** The pixels of a mask that lie on the canvas, and a few around them, which smoothing looks at. */
export function seen(
  canvas: HTMLCanvasElement,
  { size, zoom }: Omit<View, 'photo'>,
  ratio: number,
  mask: { width: number; height: number },
): Box {
  const [across, down] = [mask.width / size.width, mask.height / size.height];
  const around = 2 + Math.ceil(2 / (zoom.k * ratio));
  const [left, top] = zoom.invert([0, 0]);
  const [right, bottom] = zoom.invert([canvas.width / ratio, canvas.height / ratio]);
  return {
    left: Math.max(0, Math.floor(left * across) - around),
    top: Math.max(0, Math.floor(top * down) - around),
    right: Math.min(mask.width, Math.ceil(right * across) + around),
    bottom: Math.min(mask.height, Math.ceil(bottom * down) + around),
  };
}

/**
 * Draw lines over ignored pixels, of one width at every zoom.
 *
 * @param context in the place of the photo; its place is lost.
 * @param ignored picture of the pixels, drawn at `at` (x, y, width, height in photo pixels).
 * @param part what is drawn of the canvas, in its own pixels.
 */
export function hatch(
  context: CanvasRenderingContext2D,
  ignored: OffscreenCanvas,
  at: readonly [number, number, number, number],
  part: { left: number; top: number; width: number; height: number },
  opacity: number,
  ratio: number,
): void {
  const lines = new OffscreenCanvas(part.width, part.height);
  const target = lines.getContext('2d')!;
  const { a, d, e, f } = context.getTransform();
  target.setTransform(a, 0, 0, d, e - part.left, f - part.top);
  target.imageSmoothingEnabled = false;
  target.drawImage(ignored, ...at);
  // The pattern hangs on the canvas, so that parts that are drawn anew fit what lies around them.
  target.setTransform(1, 0, 0, 1, -part.left, -part.top);
  target.globalCompositeOperation = 'source-in';
  target.fillStyle = target.createPattern(patternOf(ratio), 'repeat')!;
  target.fillRect(part.left, part.top, part.width, part.height);
  context.resetTransform();
  context.globalAlpha = Math.min(1, 0.35 + opacity);
  context.drawImage(lines, part.left, part.top);
}

function patternOf(ratio: number): OffscreenCanvas {
  const side = Math.round(HATCH_PERIOD * ratio);
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext('2d')!;
  const image = new ImageData(side, side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const phase = ((x + y) % side) / side;
      // A light line with a dark edge shows on every photo.
      const [level, alpha] = phase < 0.2 ? [255, 235] : phase < 0.36 ? [0, 150] : [128, 70];
      image.data.set([level, level, level, alpha], 4 * (y * side + x));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
