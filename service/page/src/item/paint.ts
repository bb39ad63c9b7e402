/** Drawing the layers of an item at the present zoom. */

import type { Mask } from '../masks/mask';

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
  zoom: { k: number; x: number; y: number };
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
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth, clientHeight } = canvas;
  const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  if (!width || !height) return;
  const context = canvas.getContext('2d')!;
  context.resetTransform();
  context.clearRect(0, 0, width, height);
  const cut = left ? Math.round(wipe * ratio) : 0;
  if (left) paintScene(context, view, left, ratio, 0, cut);
  paintScene(context, view, right, ratio, cut, width);
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
  const place = (target: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D) =>
    target.setTransform(scale, 0, 0, scale, view.zoom.x * ratio, view.zoom.y * ratio);
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, context.canvas.height);
  context.clip();
  place(context);
  context.imageSmoothingQuality = 'high';
  // Enlarged pixels are shown as the squares that they are.
  context.imageSmoothingEnabled = scale < 2;
  // Under heat the photo is grey, so that its colours are not taken for scores.
  if (scene.heat) context.filter = 'grayscale(1)';
  context.drawImage(view.photo, 0, 0, width, height);
  context.filter = 'none';
  context.globalAlpha = scene.opacity;
  if (scene.heat) {
    context.imageSmoothingEnabled = true;
    context.drawImage(scene.heat, 0, 0, width, height);
  }
  if (scene.mask) {
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(scene.mask.colours, 0, 0, width, height);
    if (scene.hatched) {
      context.resetTransform();
      context.globalAlpha = Math.min(1, 0.35 + scene.opacity);
      const hatching = hatchingOf(scene.mask, context.canvas, place, width, height, ratio);
      context.drawImage(hatching, 0, 0);
    }
  }
  context.restore();
}

/** Lines over the ignored pixels, of one width at every zoom. */
function hatchingOf(
  mask: Mask,
  { width: screenWidth, height: screenHeight }: HTMLCanvasElement,
  place: (target: OffscreenCanvasRenderingContext2D) => void,
  width: number,
  height: number,
  ratio: number,
): OffscreenCanvas {
  const canvas = new OffscreenCanvas(screenWidth, screenHeight);
  const context = canvas.getContext('2d')!;
  place(context);
  context.imageSmoothingEnabled = false;
  context.drawImage(mask.ignored, 0, 0, width, height);
  context.resetTransform();
  context.globalCompositeOperation = 'source-in';
  context.fillStyle = context.createPattern(hatch(ratio), 'repeat')!;
  context.fillRect(0, 0, screenWidth, screenHeight);
  return canvas;
}

export function hatch(ratio: number): OffscreenCanvas {
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
